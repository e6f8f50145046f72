"""Exactness on a GPU: rows of any number give the same training, and so does a resumed run.

A small model trains with a step's examples in one row and in four; and it trains again, is
stopped in the middle and goes on. PyTorch's deterministic algorithms are asked for.

    python -m benchmarks.gpu.exact
"""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# cuBLAS reads it when it is loaded; without it a product may round differently each time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch  # noqa: E402
from transformers import PreTrainedModel, TrainerCallback  # noqa: E402

from benchmarks.gpu.common import Result, random_examples, random_model  # noqa: E402
from benchmarks.gpu.training import run_training  # noqa: E402
from stages.lib.provenance.catalog import Shape  # noqa: E402

SHAPE = Shape(4, 512, 1408, 8, 2, 64, 8_192, tied=True)
STEPS, LONGEST, TOKENS = 12, 256, 4096
TOLERANCE = 1e-3


class Stop(TrainerCallback):
    """Stops a training after a step, as a kill would, but for the checkpoint."""

    def __init__(self, after: int) -> None:
        """Stop after step ``after``."""
        self.after = after

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if it is time."""
        if state.global_step == self.after:
            raise KeyboardInterrupt


def measure(
    shape: Shape = SHAPE, steps: int = STEPS, tokens: int = TOKENS, longest: int = LONGEST
) -> Result:
    """Train in four ways and compare loss curves and final weights."""
    data = random_examples(shape, tokens * steps, longest=longest)
    options: dict[str, Any] = {"steps": steps, "learning_rate": 1e-3, "save_every": steps // 3}

    def run(folder: Path, rows: int, *callbacks: TrainerCallback) -> tuple[Any, PreTrainedModel]:
        model = random_model(shape)
        row_tokens = tokens if rows == 1 else tokens // rows
        trained = run_training(
            shape,
            model,
            data,
            *callbacks,
            row_tokens=row_tokens,
            rows=rows,
            checkpoints=folder,
            **options,
        )
        return trained, model

    with TemporaryDirectory() as folder:
        one, model = run(Path(folder) / "one", 1)
        four, _ = run(Path(folder) / "four", 4)
        again = Path(folder) / "again"
        with suppress(KeyboardInterrupt):
            run(again, 1, Stop(after=steps // 2))
        resumed, other = run(again, 1)
    differences = [abs(a - b) for a, b in zip(one.losses, four.losses, strict=True)]
    same = all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True)
    )
    return Result(
        "exact",
        f"loss curves within {TOLERANCE}; a resumed run ends with the same bytes",
        max(differences) <= TOLERANCE and same,
        {
            "largest_difference": max(differences),
            "rows": [one.plan.per_step, four.plan.per_step],
            "resumed_equal": same,
            "losses": [round(loss, 4) for loss in resumed.losses],
        },
    )


if __name__ == "__main__":
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    measure().print_line()
