"""Tests of the folders of checkpoints: which one is resumed from, and how they are removed."""

import shutil
from pathlib import Path

import pytest

from stages.lib.core.paths import CHECKPOINTS
from stages.lib.training.callbacks import COMPLETE
from stages.lib.training.checkpoints import latest_complete, remove_checkpoints


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a run of the model ``adaptive`` whose third checkpoint is incomplete."""
    monkeypatch.chdir(tmp_path)
    for step in (2, 10, 12):
        folder = CHECKPOINTS / "adaptive" / "key" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").touch()
        if step != 12:
            (folder / COMPLETE).touch()
    return CHECKPOINTS / "adaptive" / "key"


def test_a_run_resumes_from_the_newest_checkpoint_that_is_complete(run: Path) -> None:
    assert latest_complete(run) == str(run / "checkpoint-10")
    assert {path.name for path in run.iterdir()} == {"checkpoint-2", "checkpoint-10"}


def test_a_removal_that_is_killed_leaves_no_checkpoint_that_looks_complete(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        (path / "key" / "checkpoint-10" / "optimizer.pt").unlink()
        raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(shutil, "rmtree", killed)
        remove_checkpoints("adaptive")
    assert latest_complete(run) is None


def test_a_removal_takes_all_of_a_model_and_nothing_of_others(run: Path) -> None:
    shutil.copytree(run.parent, CHECKPOINTS / "uniform")
    remove_checkpoints("adaptive")
    assert [path.name for path in CHECKPOINTS.iterdir()] == ["uniform"]
