"""Checkpoints of training runs: their folder, the one that a run resumes from, their removal."""

import shutil
from pathlib import Path

from accelerate import PartialState

from stages.lib.core.paths import CHECKPOINTS
from stages.lib.runtime import console
from stages.lib.training.callbacks import COMPLETE


def checkpoint_dir(name: str, run_key: str) -> Path:
    """Return the folder of a run's checkpoints; log those of the model's other runs.

    ``run_key`` identifies everything that the training depends on.
    """
    checkpoints = CHECKPOINTS / name / run_key
    for unused in sorted((CHECKPOINTS / name).glob("*")):
        if unused != checkpoints:
            console.log_line(f"{name}: ignored: from other parameters or data: {unused}")
    return checkpoints


def latest_complete(checkpoints: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; remove incomplete ones."""
    complete = sorted(
        (path.parent for path in checkpoints.glob(f"checkpoint-*/{COMPLETE}")),
        key=lambda folder: int(folder.name.rpartition("-")[2]),
    )
    if PartialState().is_main_process:
        for folder in set(checkpoints.glob("checkpoint-*")) - set(complete):
            shutil.rmtree(folder)
    return str(complete[-1]) if complete else None


def remove_checkpoints(name: str) -> None:
    """Remove a model's checkpoints.

    The marks go first: a run that is killed here leaves nothing that looks complete.
    """
    for mark in (CHECKPOINTS / name).glob(f"*/checkpoint-*/{COMPLETE}"):
        mark.unlink()
    shutil.rmtree(CHECKPOINTS / name)
