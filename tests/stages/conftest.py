"""A folder to run a stage in, with the committed parameters made small."""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stages import prepare
from stages.lib.params.base import ParamGroup
from tests.mini import make_small, set_params
from tests.pipeline import SCRIPTS, group_of, tracks

Change = Callable[[dict[str, Any]], None]

# Read, but of no effect on results: dvc.yaml tracks none of them.
NO_EFFECT = {
    "engine": {"engines", "cpus"},
    "sandbox": {"workers", "allow_unprotected"},
    "train": {"save_every", "tracking"},
    "grpo": {"save_every", "tracking"},
}


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Enter an empty folder with small parameters; return how to change them."""
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    make_small(tmp_path)
    return lambda values: set_params(tmp_path, values)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which ``prepare`` ran with the committed parameters made small."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copy("params.yaml", folder)
    make_small(folder)
    with pytest.MonkeyPatch.context() as inside:
        inside.chdir(folder)
        prepare.main()
    return folder


@pytest.fixture
def with_problems(change: Change, prepared: Path) -> Change:
    """Enter a folder with small parameters and problems; return how to change the former."""
    shutil.copytree(prepared / "data", "data")
    return change


@pytest.fixture(autouse=True)
def parameters_that_are_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail where a stage reads a parameter that dvc.yaml does not track for it."""
    read: set[tuple[str, str, str]] = set()
    original = ParamGroup.__getattribute__

    def recording(self: ParamGroup, name: str) -> Any:
        if name in type(self).__pydantic_fields__:
            group, stage = group_of(type(self)), _running_stage()
            if group and stage:
                read.add((stage, group, name))
        return original(self, name)

    monkeypatch.setattr(ParamGroup, "__getattribute__", recording)
    yield
    untracked = {
        f"stages/{stage}.py reads {group}.{name}, which dvc.yaml does not track for it"
        for stage, group, name in read
        if name not in NO_EFFECT.get(group, ()) and not tracks(stage, group, name)
    }
    assert not untracked


def _running_stage() -> str | None:
    """Return the stage whose script is on the stack; None while parameters are validated."""
    frame = sys._getframe(2)
    if "/stages/lib/params/" in frame.f_code.co_filename:
        return None
    while frame is not None:
        if stage := _stage_of(frame.f_code.co_filename):
            return stage
        frame = frame.f_back
    return None


@cache
def _stage_of(file: str) -> str | None:
    """Return the stage whose script a file is."""
    path = Path(file)
    is_script = path.parent.name == "stages" and path.parent.parent.name != "tests"
    return path.stem if is_script and path.stem in SCRIPTS else None
