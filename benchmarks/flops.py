"""The measured FLOP/s ceiling of the machine."""

import time

import torch

# Matrices that exceed the caches, yet take at most a second a trial.
SIZE, TRIALS = 4096, 5


def bf16_ceiling() -> float:
    """Return the FLOP/s of the fastest of a few bf16 products of square matrices."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(SIZE, SIZE, device=device).bfloat16() for _ in range(2))
    return max(2 * SIZE**3 / _product_seconds(left, right) for _ in range(TRIALS))


def _product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    started = time.perf_counter()
    product = left @ right
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
