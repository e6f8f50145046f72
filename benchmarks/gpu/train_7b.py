"""Full fine-tuning of a 7B model on one GPU, by the trainer of the ``train`` stage.

Random weights of the shape of Qwen2.5-7B, an 8-bit AdamW with stochastic rounding, rows of
8,192 tokens, activations recomputed.

    python -m benchmarks.gpu.train_7b
"""

from typing import Any

import torch

from benchmarks.gpu.common import Clock, Result, peak_flops, random_examples, random_model
from benchmarks.gpu.training import run_training
from stages.lib.provenance.catalog import MODELS, Shape

SHAPE = MODELS["Qwen/Qwen2.5-7B"].shape
STEPS, SKIP, ROW_TOKENS, LONGEST, ROWS = 20, 5, 8192, 2048, 2
LEAST_RATE, LEAST_MFU, MOST_GIB = 9_000, 0.36, 72
SETTINGS: dict[str, Any] = {
    "tuning": {"method": "full", "optimizer": "adamw_8bit"},
    "gradient_checkpointing": True,
    "learning_rate": 1e-5,
}


def measure(
    shape: Shape = SHAPE,
    steps: int = STEPS,
    row_tokens: int = ROW_TOKENS,
    longest: int = LONGEST,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Train for a few steps, and judge rate, share of the peak FLOP/s and memory."""
    model = random_model(shape)
    data = random_examples(shape, ROWS * row_tokens * steps, longest=longest)
    clock = Clock()
    run = run_training(
        shape,
        model,
        data,
        clock,
        steps=steps,
        row_tokens=row_tokens,
        rows=ROWS,
        **(SETTINGS if settings is None else settings),
    )
    seconds = clock.seconds_per_step(min(SKIP, steps - 1))
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    peak = peak_flops(name)
    mfu = None if peak is None else run.flops_per_step / seconds / peak
    gib = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    return judge(run.tokens_per_step / seconds, mfu, gib, run.losses)


def judge(rate: float, mfu: float | None, gib: float | None, losses: list[float]) -> Result:
    """Return the result; a figure that is unknown does not pass."""
    return Result(
        "train_7b",
        f"at least {LEAST_RATE} tokens/s and {LEAST_MFU:.0%} of the peak FLOP/s, "
        f"at most {MOST_GIB} GiB",
        mfu is not None
        and gib is not None
        and rate >= LEAST_RATE
        and mfu >= LEAST_MFU
        and gib <= MOST_GIB,
        {
            "tokens_per_s": round(rate),
            "mfu": None if mfu is None else round(mfu, 3),
            "peak_gib": None if gib is None else round(gib, 1),
            "losses": losses,
        },
    )


if __name__ == "__main__":
    measure().print_line()
