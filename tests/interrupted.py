"""A training that is stopped by SIGTERM, resumed, and done once more without a stop.

All three in the same processes: to start processes takes far longer than to train a tiny model.

accelerate launch --config_file conf/accelerate/ddp.yaml -m tests.interrupted STAGE NAME
"""

import os
import shutil
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from tqdm import tqdm

from stages.lib.core.files import read_json, write_json
from stages.lib.core.paths import CHECKPOINTS, MODELS, TRAINING_LOGS
from stages.lib.grpo.rollouts import ROLLOUTS
from stages.lib.runtime import console

# A loss that no model has.
MARK = 123.0


class TerminatingBar(tqdm):
    """Sends SIGTERM to this process in the third step."""

    def update(self, n: float | None = 1) -> bool | None:
        """Move the bar, as tqdm does."""
        is_displayed = super().update(n)
        if self.n == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return is_displayed


def mark_checkpoints(name: str) -> None:
    """Give the first step of a model's checkpoints a loss that a run from step 0 would not log."""
    paths = list(CHECKPOINTS.glob(f"{name}/*/checkpoint-*/trainer_state.json"))
    assert paths
    for path in paths:
        state = read_json(path)
        state["log_history"][0]["loss"] = MARK
        write_json(path, state)


def resumed(name: str) -> str:
    """Return the name under which the model of the resumed run is kept, with its logs."""
    return f"{name}-resumed"


def stop_resume_and_repeat(
    work: Callable[[str], None], name: str, on_stop: Callable[[str], None] = mark_checkpoints
) -> None:
    """Train a model three times; ``on_stop`` is called in the first process after the stop."""
    # One process alone gets the signal, and all must stop.
    gets_signal = console.rank() == int(os.environ["WORLD_SIZE"]) - 1
    bar = terminating_bar if gets_signal else console.progress_bar
    with mock.patch.object(console, "progress_bar", bar):
        try:
            work(name)
        except InterruptedError as error:
            console.log_line(str(error))
        else:
            raise AssertionError("was not stopped")
    in_first_process(on_stop, name)
    work(name)
    in_first_process(keep, name)
    work(name)


def terminating_bar(*, total: int | None, desc: str, unit: str) -> TerminatingBar:
    """Return a bar in place of that of ``console.progress_bar``."""
    return TerminatingBar(total=total, desc=desc, unit=unit)


def keep(name: str) -> None:
    """Copy what a run made, which the next one writes again."""
    for folder in (MODELS, TRAINING_LOGS):
        shutil.copytree(folder / name, folder / resumed(name))
    rollouts = ROLLOUTS / f"{name}.jsonl"
    if rollouts.exists():
        shutil.copy(rollouts, ROLLOUTS / f"{resumed(name)}.jsonl")


def in_first_process(action: Callable[[str], None], name: str) -> None:
    """Run an action in the first process, which has ended its work, while the others wait."""
    if console.rank() == 0:
        action(name)
    torch.distributed.barrier()


def main(stage: str, name: str) -> None:
    """Train a model of a stage as above."""
    work: Any = import_module(f"stages.{stage}").main
    stop_resume_and_repeat(work, name)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name")


if __name__ == "__main__":
    console.run_stage("interrupted", main, item="stage", add_arguments=_arguments)
