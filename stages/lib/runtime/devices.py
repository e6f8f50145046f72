"""Find GPUs and CPU cores, and assign them to processes."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:  # takes seconds to import, and most users of this module do not train
    from transformers import TrainingArguments

_Device = TypeVar("_Device")


def gpus() -> list[str]:
    """Return the visible GPUs as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def cores() -> list[int]:
    """Return the numbers of the CPU cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def partition(devices: Sequence[_Device], count: int) -> list[list[_Device]]:
    """Return ``count`` parts of equal size, each of neighbors; leave out the remainder."""
    size = len(devices) // count
    return [list(devices[part * size : (part + 1) * size]) for part in range(count)]


def use_one_gpu(arguments: "TrainingArguments") -> None:
    """Let a single-process trainer use only the first of several visible GPUs.

    Transformers would otherwise use all of them with DataParallel, which TRL refuses. Hiding the
    others is too late by then, as bitsandbytes initializes CUDA when it is imported.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # noqa: SLF001
