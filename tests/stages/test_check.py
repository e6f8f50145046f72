"""The stage that checks the parameters."""

from pathlib import Path

import pytest

from stages import check
from stages.lib.core.paths import PARAMS_OK


def test_it_checks_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Path("params.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(committed.replace("max_grad_norm: 1.0", "max_grda_norm: 1.0", 1))
    with pytest.raises(ValueError, match=r"params.yaml: train.max_grda_norm: unknown key; did you"):
        check.main()
    assert not PARAMS_OK.exists()
    Path("params.yaml").write_text(committed)
    check.main()
    assert PARAMS_OK.read_text() == "valid\n"
