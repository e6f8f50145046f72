"""What happens between the steps of training."""

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from tqdm import tqdm
from transformers import TrainerCallback

# The file that says that a checkpoint was written to its end.
COMPLETE = "complete"


class Progress(TrainerCallback):
    """Moves the bar, stops on a loss that is not a number, and marks whole checkpoints.

    ``problems`` are the ids of the problems of each step; ``value`` is what the bar shows
    of the log, where a step has it.
    """

    def __init__(self, shown: "tqdm[Any]", problems: Sequence[Sequence[str]], value: str) -> None:
        """Remember what to show, and whose problems to name."""
        self.shown = shown
        self.problems = problems
        self.value = value

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show where a resumed run begins."""
        self.shown.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the step."""
        self.shown.update(1)
        if state.global_step == state.max_steps:
            control.should_save = False  # the model itself is saved next

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Look at the loss of the step and at its gradient, before anything is saved."""
        if logs is None or "loss" not in logs:
            return
        step = int(state.global_step)
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs[name]):
                batch = ", ".join(dict.fromkeys(self.problems[step - 1]))
                raise ValueError(
                    f"step {step}: {name} {logs[name]}: expected a finite number; "
                    f"the batch holds problems {batch}"
                )
        if self.value in logs:
            self.shown.set_postfix({self.value: f"{logs[self.value]:.3f}"})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as whole."""
        PartialState().wait_for_everyone()
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class Termination(TrainerCallback):
    """Lets SIGTERM end the training with a checkpoint, after the step that it came in.

    Of several processes it is enough that one has got it.

    If steps belong together, after the next one that is a multiple of ``every``.
    """

    def __init__(self, *, every: int = 1) -> None:
        """Begin without a signal."""
        self.every = every
        self.asked = False
        self.stopped_at: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop, if that was asked for; after the last step there is no need."""
        between = state.global_step % self.every == 0 and state.global_step < state.max_steps
        if self._asked_of_any() and between:
            self.stopped_at = state.global_step
            control.should_save = control.should_training_stop = True

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Await SIGTERM while the body trains. Raises InterruptedError if it has stopped it."""
        before = signal.signal(signal.SIGTERM, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
        if self.stopped_at is not None:
            raise InterruptedError(
                f"stopped by SIGTERM after step {self.stopped_at}; a checkpoint is saved, and the "
                "next run goes on from it"
            )

    def _asked_of_any(self) -> bool:
        asked = torch.tensor(int(self.asked), device=PartialState().device)
        return bool(cast(torch.Tensor, reduce(asked, "sum")))

    def _note(self, *_: Any) -> None:
        self.asked = True
