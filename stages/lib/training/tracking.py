"""Training as others can watch it: DVCLive's files always, other trackers by parameter.

DVCLive writes a table per measurement and a summary, without times, so the same training
gives the same bytes. What the others write is no output of a stage and lies in
``data/tracking/``. When a training is taken up again, each tracker is given the steps
before its checkpoint once more and what an earlier attempt wrote is put aside: no step is
there twice, none is missing.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dvclive.live import Live
from transformers import TrainerCallback

from stages.lib.core.paths import TRACKING
from stages.lib.params.training import Tracker
from stages.lib.runtime import console

PROJECT = "uphill"

# How long its server may take to answer, before a training begins without it.
_WANDB_PATIENCE_S = 15.0

# Set before there are threads: one that reads the environment meanwhile may crash.
# trackio reads the first when it is imported, and TRL's trainer may do that. DVC's own runs
# tell DVC Studio what they should; DVCLive would leave a run there open.
os.environ.setdefault("TRACKIO_DIR", str(TRACKING / "trackio"))
os.environ["DVC_STUDIO_OFFLINE"] = "true"

Log = Callable[[int, Mapping[str, float]], object]
Rows = Callable[[Sequence[dict[str, Any]]], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Run:
    """A training as the trackers name it: of a model, known by ``key``, with its settings.

    ``key`` tells trainings with other parameters or data apart.
    """

    model: str
    key: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return a name for people."""
        return f"{self.model}-{self.key[:8]}"


class Tracking(TrainerCallback):
    """Logs every step, in the main process alone."""

    def __init__(
        self, folder: Path, trackers: Sequence[Tracker], run: Run, rows_by_step: Rows
    ) -> None:
        """Remember where DVCLive writes, and who else is told; nothing is opened yet.

        ``rows_by_step`` turns a trainer's history into rows with a ``step`` and what was
        measured then, None where it was not.
        """
        self.folder = folder
        self.trackers = trackers
        self.run = run
        self.rows_by_step = rows_by_step
        self._opened = ExitStack()
        self._logs: list[Log] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the trackers, and log the steps that are behind a resumed run."""
        if not state.is_world_process_zero:
            return
        opening = [_dvclive(self.folder), *(_open(name, self.run) for name in self.trackers)]
        self._logs = [self._opened.enter_context(one) for one in opening]
        self._log(state.log_history)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Log the step; a held-out loss stands in the history before it."""
        if logs is not None and "loss" in logs:
            last_two = state.log_history[-2:]
            self._log([entry for entry in last_two if entry["step"] == state.global_step])

    def close(self) -> None:
        """Close the trackers."""
        self._opened.close()

    def _log(self, history: Sequence[dict[str, Any]]) -> None:
        for row in self.rows_by_step(history):
            measured = {name: value for name, value in row.items() if value is not None}
            step = measured.pop("step")
            for log in self._logs:
                log(step, measured)


@contextmanager
def _dvclive(folder: Path) -> Iterator[Log]:
    live = Live(str(folder), save_dvc_exp=False, report=None, dvcyaml=None)

    def log(step: int, values: Mapping[str, float]) -> None:
        live.step = step
        for name, value in values.items():
            live.log_metric(name, value)
        # Live.next_step would read every table again, and Live.end asks git.
        live.make_summary()

    yield log


def _open(tracker: Tracker, run: Run) -> Any:
    match tracker:
        case "tensorboard":
            return _tensorboard(run)
        case "trackio":
            return _trackio(run)
        case "wandb":
            return _wandb(run)


@contextmanager
def _tensorboard(run: Run) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter

    folder = TRACKING / "tensorboard" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:

        def log(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
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
    trackio.init(
        project=PROJECT,
        name=run.name,
        group=run.model,
        config=dict(run.settings),
        embed=False,
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    try:
        yield lambda step, values: trackio.log(dict(values), step=step)
    finally:
        trackio.finish()


@contextmanager
def _wandb(run: Run) -> Iterator[Log]:
    import wandb
    from wandb.sdk.lib.wbauth import authenticate_session

    TRACKING.mkdir(parents=True, exist_ok=True)
    server = wandb.setup().settings.base_url
    known = authenticate_session(host=server, source="uphill", prompt=False) is not None
    begin = partial(
        wandb.init,
        project=PROJECT,
        name=run.name,
        group=run.model,
        config=dict(run.settings),
        dir=str(TRACKING),
        settings=wandb.Settings(
            console="off", silent=True, x_disable_stats=True, init_timeout=_WANDB_PATIENCE_S
        ),
    )
    try:
        made = begin(mode=None if known else "offline")
    except wandb.Error as error:
        why = str(error).partition("\n")[0]
        console.log_line(f"tracking: wandb: {run.name} is kept offline, to be synced later: {why}")
        made = begin(mode="offline")
    try:
        yield lambda step, values: made.log(dict(values), step=step)
    finally:
        made.finish()
