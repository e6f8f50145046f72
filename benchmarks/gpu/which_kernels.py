"""Which kernels the training path runs: attention within examples, by FlashAttention.

Two layers of a 7B model read one packed row, forward and backward, as the trainer does.

    python -m benchmarks.gpu.which_kernels
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.common import Result, device, random_examples, random_model
from stages.lib.provenance.catalog import MODELS, Shape
from stages.lib.sft.loss import weighted_loss
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import as_tensors, micro_batch

SHAPE = replace(MODELS["Qwen/Qwen2.5-7B"].shape, layers=2)
ROW_TOKENS, LONGEST = 8192, 1024


def measure(shape: Shape = SHAPE, row_tokens: int = ROW_TOKENS, longest: int = LONGEST) -> Result:
    """Profile one row, and judge the kernels by their names."""
    model = random_model(shape).train()
    attend_per_example(model, device())
    data = random_examples(shape, row_tokens, longest=longest)
    row = move(as_tensors(micro_batch([data[i] for i in range(len(data))], 1.0)))
    loss_of(model, row).backward()  # not counted: the first call chooses its kernels
    activity = ProfilerActivity.CUDA if torch.cuda.is_available() else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiler:
        loss_of(model, row).backward()
    names = sorted({event.key for event in profiler.key_averages()})
    chosen = str(model.config._attn_implementation)  # noqa: SLF001
    return judge(chosen, names)


def judge(chosen: str, names: Sequence[str]) -> Result:
    """Return the result for the attention that was chosen and the names of the kernels."""
    flash = [name for name in names if "flash" in name.lower()]
    slow = [name for name in names if "index_put" in name or "softmax_warp" in name.lower()]
    return Result(
        "which_kernels",
        "attention is varlen or flash_attention_2, by flash kernels, without index_put or softmax",
        chosen in ("varlen", "flash_attention_2") and bool(flash) and not slow,
        {"attention": chosen, "flash": flash, "slow": slow, "kernels": len(names)},
    )


def move(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its tensors on the device, as a trainer moves them."""
    return {
        name: value.to(device()) if isinstance(value, torch.Tensor) else value
        for name, value in row.items()
    }


def loss_of(model: torch.nn.Module, row: dict[str, Any]) -> torch.Tensor:
    """Return the weighted loss of a row."""
    return weighted_loss(model, row, int((row["labels"] >= 0).sum()))


if __name__ == "__main__":
    measure().print_line()
