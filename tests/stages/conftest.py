"""A folder to run a stage in, with the committed parameters made small."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.small import make_small, set_params

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Enter an empty folder with small parameters; return how to change them."""
    committed = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(committed), encoding="utf-8")
    make_small(tmp_path)
    return lambda values: set_params(tmp_path, values)
