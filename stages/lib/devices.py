"""The GPUs of this machine, or its cores where it has none, and who gets which."""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch

_Thing = TypeVar("_Thing")


def gpus() -> list[str]:
    """Return the names of the visible GPUs, as CUDA_VISIBLE_DEVICES has them."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def dealt(things: Sequence[_Thing], count: int) -> list[list[_Thing]]:
    """Return ``count`` parts of equal size, neighbours together; what is left over is in none."""
    size = len(things) // count
    return [list(things[part * size : (part + 1) * size]) for part in range(count)]
