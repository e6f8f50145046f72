"""Callbacks between the steps of a training: progress, checks, checkpoints, SIGTERM."""

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from tqdm import tqdm
from transformers import TrainerCallback

# Marks a checkpoint as completely written.
COMPLETE = "complete"


@dataclass(eq=False)
class Progress(TrainerCallback):
    """Moves the bar, stops on a loss that is not finite, and marks complete checkpoints.

    ``problem_ids`` returns the ids of the problems in a step (the first is 0), for the error;
    ``metric`` is the value of the log that the bar shows, if a step has it.
    """

    progress: "tqdm[Any]"
    problem_ids: Callable[[int], Sequence[str]]
    metric: str

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar to where a resumed run begins."""
        self.progress.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar by a step."""
        self.progress.update(1)
        if state.global_step == state.max_steps:
            control.should_save = False  # the model itself is saved next

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        """Check the step's loss and gradient before anything is saved."""
        if logs is None or "loss" not in logs:
            return
        step = int(state.global_step)
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs[name]):
                problems = ", ".join(dict.fromkeys(self.problem_ids(step - 1)))
                raise ValueError(
                    f"step {step}: {name} {logs[name]}: expected a finite number; "
                    f"the batch holds problems {problems}"
                )
        if self.metric in logs:
            self.progress.set_postfix({self.metric: f"{logs[self.metric]:.3f}"})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as complete, once every process has written its part."""
        PartialState().wait_for_everyone()
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class Termination(TrainerCallback):
    """Ends the training with a checkpoint on SIGTERM, after the step that it came in.

    The signal may come to any of several processes. If steps belong together, the training
    ends after the next step that is a multiple of ``every``.
    """

    def __init__(self, *, every: int = 1) -> None:
        """Start with no signal received."""
        self.every = every
        self.received = False
        self.stopped_at: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop if a SIGTERM has come; after the last step there is no need."""
        between = state.global_step % self.every == 0 and state.global_step < state.max_steps
        # Every process takes part in the sum, at every step.
        if self._received_by_any() and between:
            self.stopped_at = state.global_step
            control.should_save = control.should_training_stop = True

    @contextmanager
    def handle_sigterm(self) -> Iterator[None]:
        """Handle SIGTERM while the body trains. Raises InterruptedError if one stopped it."""
        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
        if self.stopped_at is not None:
            raise InterruptedError(
                f"stopped by SIGTERM after step {self.stopped_at}; a checkpoint is saved, and the "
                "next run resumes from it"
            )

    def _received_by_any(self) -> bool:
        received = torch.tensor(int(self.received), device=PartialState().device)
        return bool(cast(torch.Tensor, reduce(received, "sum")))

    def _receive(self, *_: Any) -> None:
        self.received = True
