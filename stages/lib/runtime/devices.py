"""The GPUs of this machine, or its cores where it has none, and who gets which."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:  # it takes seconds to import, and most who come here train nothing
    from transformers import TrainingArguments

_Thing = TypeVar("_Thing")


def gpus() -> list[str]:
    """Return the names of the visible GPUs, as CUDA_VISIBLE_DEVICES has them."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def partition(things: Sequence[_Thing], count: int) -> list[list[_Thing]]:
    """Return ``count`` parts of equal size, neighbours together; what is left over is in none."""
    size = len(things) // count
    return [list(things[part * size : (part + 1) * size]) for part in range(count)]


def own_gpu() -> int:
    """Return the number of this process's GPU: that of its launcher's choice, or the first."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def use_one_gpu(arguments: "TrainingArguments") -> None:
    """Let a trainer of one process use the first GPU alone, where several are visible.

    Transformers would deal its batches to all of them by DataParallel, which TRL refuses.
    To hide the others is too late by then: bitsandbytes starts CUDA when it is imported.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # noqa: SLF001
