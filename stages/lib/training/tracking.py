"""Experiment trackers: DVCLive always, TensorBoard, trackio and W&B by parameter.

DVCLive writes a table per metric and a summary, without times, so the same training
gives the same bytes. The other trackers' files are not stage outputs and lie in
``data/tracking/``. On resume, each tracker starts over, without what an earlier attempt
wrote, and the steps before the checkpoint are replayed, so each step appears once. The
callbacks of transformers and DVCLive would append to the earlier attempt instead.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dvclive.live import Live
from transformers import TrainerCallback

from stages.lib.core.paths import TRACKING, TRAINING_LOGS
from stages.lib.params.grpo import Grpo
from stages.lib.params.training import Tracker, Train
from stages.lib.runtime import console

PROJECT = "uphill"

# How long W&B's server may take to answer before a training begins without it.
_WANDB_TIMEOUT_S = 15.0

# Set before there are threads: one that reads the environment meanwhile may crash.
# trackio reads the first when it is imported, and TRL's trainer may do that. DVC itself
# reports to DVC Studio; DVCLive would leave a run open there.
os.environ.setdefault("TRACKIO_DIR", str(TRACKING / "trackio"))
os.environ["DVC_STUDIO_OFFLINE"] = "true"

Log = Callable[[int, Mapping[str, float]], object]
Rows = Callable[[Sequence[dict[str, Any]]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Run:
    """A training of a model with its settings, as trackers name it.

    ``key`` differs between trainings with different parameters or data.
    """

    model: str
    key: str
    settings: Train | Grpo

    @property
    def name(self) -> str:
        """Return a short name to show."""
        return f"{self.model}-{self.key[:8]}"

    @property
    def labels(self) -> dict[str, Any]:
        """Return the names and the settings that trackio and W&B store with the run."""
        config = self.settings.model_dump(mode="json")
        return {"project": PROJECT, "name": self.name, "group": self.model, "config": config}


class Tracking(TrainerCallback):
    """Logs every step to the trackers, in the main process alone."""

    def __init__(self, run: Run, rows_by_step: Rows) -> None:
        """Keep what to track; no tracker is opened yet.

        ``rows_by_step`` turns a trainer's history into rows with a ``step`` and metrics,
        None where one was not measured.
        """
        self.run = run
        self.rows_by_step = rows_by_step
        self._opened = ExitStack()
        self._logs: list[Log] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the trackers, and log the steps before a resumed run's checkpoint."""
        if not state.is_world_process_zero:
            return
        trackers = [_dvclive, *(_OPEN[name] for name in self.run.settings.tracking)]
        self._logs = [self._opened.enter_context(tracker(self.run)) for tracker in trackers]
        self._log(state.log_history)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Log the step; a validation loss is the entry before it in the history."""
        if logs is not None and "loss" in logs:
            last_two = state.log_history[-2:]
            self._log([entry for entry in last_two if entry["step"] == state.global_step])

    def close(self) -> None:
        """Close the trackers."""
        self._opened.close()

    def _log(self, history: Sequence[dict[str, Any]]) -> None:
        for row in self.rows_by_step(history):
            metrics = {name: value for name, value in row.items() if value is not None}
            step = metrics.pop("step")
            for log in self._logs:
                log(step, metrics)


@contextmanager
def _dvclive(run: Run) -> Iterator[Log]:
    live = Live(str(TRAINING_LOGS / run.model), save_dvc_exp=False, report=None, dvcyaml=None)

    def log(step: int, metrics: Mapping[str, float]) -> None:
        live.step = step
        for name, value in metrics.items():
            live.log_metric(name, value)
        # Live.next_step would read every table again, and Live.end runs git.
        live.make_summary()

    yield log


@contextmanager
def _tensorboard(run: Run) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    folder = TRACKING / "tensorboard" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def log(step: int, metrics: Mapping[str, float]) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)
            writer.flush()

        yield log


@contextmanager
def _trackio(run: Run) -> Iterator[Log]:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    if PROJECT in SQLiteStorage.get_projects():
        for earlier in trackio.Api().runs(PROJECT):
            if earlier.name == run.name:
                earlier.delete()
    trackio.init(**run.labels, embed=False, auto_log_cpu=False, auto_log_gpu=False)
    try:
        yield lambda step, metrics: trackio.log(dict(metrics), step=step)
    finally:
        trackio.finish()


@contextmanager
def _wandb(run: Run) -> Iterator[Log]:
    import wandb

    TRACKING.mkdir(parents=True, exist_ok=True)
    start = partial(
        wandb.init,
        **run.labels,
        dir=str(TRACKING),
        settings=wandb.Settings(
            console="off", silent=True, x_disable_stats=True, init_timeout=_WANDB_TIMEOUT_S
        ),
    )
    # A tracker must not stop a training: without a login or a server, the run is kept offline.
    try:
        wandb_run = start(mode=None if wandb.login(prompt=False) else "offline")
    except wandb.Error as error:
        reason = str(error).partition("\n")[0]
        console.log_line(
            f"tracking: wandb: {run.name} is kept offline, to be synced later: {reason}"
        )
        wandb_run = start(mode="offline")
    try:
        yield lambda step, metrics: wandb_run.log(dict(metrics), step=step)
    finally:
        wandb_run.finish()


_OPEN: dict[Tracker, Callable[[Run], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
