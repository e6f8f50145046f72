"""The stage that checks the parameters."""

from pathlib import Path

import pytest

from stages import check
from stages.lib.core.paths import PARAMS_OK
from stages.lib.runtime.machine import Machine


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


def test_what_this_machine_lacks_is_named_but_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text.replace("tensor_parallel: 1", "tensor_parallel: 4"))
    here = Machine((), 2, 24.0, has_cuda_build=False)
    monkeypatch.setattr(check, "this_machine", lambda: here)
    check.main()
    assert PARAMS_OK.read_text() == "valid\n"
    assert capsys.readouterr().err == (
        "check: engine.tensor_parallel: 4: expected at most the 2 cores of this machine\n"
    )
