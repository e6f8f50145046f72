"""Checkpoints of training runs: where they lie, and which one a run goes on from."""

import shutil
from pathlib import Path

from accelerate import PartialState

from stages.lib.core.paths import CHECKPOINTS
from stages.lib.runtime import console
from stages.lib.training.callbacks import COMPLETE


def checkpoint_dir(name: str, depends_on: str) -> Path:
    """Return where the checkpoints of a model's training lie, and say which are not used.

    ``depends_on`` identifies all that the training depends on.
    """
    checkpoints = CHECKPOINTS / name / depends_on
    for other in sorted((CHECKPOINTS / name).glob("*")):
        if other != checkpoints:
            console.log_line(f"{name}: not used, of other parameters or data: {other}")
    return checkpoints


def latest_complete(checkpoints: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; remove the others."""
    whole = sorted(
        (path.parent for path in checkpoints.glob(f"checkpoint-*/{COMPLETE}")),
        key=lambda folder: int(folder.name.rpartition("-")[2]),
    )
    if PartialState().is_main_process:
        for folder in set(checkpoints.glob("checkpoint-*")) - set(whole):
            shutil.rmtree(folder)
    return str(whole[-1]) if whole else None
