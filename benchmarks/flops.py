"""Model FLOPs of a training run, and the measured FLOP/s ceiling of the machine."""

import time
from typing import cast

import torch
from transformers import PreTrainedModel

# Matrices that exceed the caches, yet take at most a second a trial.
SIZE, TRIALS = 4096, 5


def bf16_ceiling() -> float:
    """Return the FLOP/s of the fastest of a few bf16 products of square matrices."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(SIZE, SIZE, device=device).bfloat16() for _ in range(2))
    return max(2 * SIZE**3 / _product_seconds(left, right) for _ in range(TRIALS))


def training_flops(model: PreTrainedModel, tokens: int, supervised: int) -> int:
    """Return the FLOPs of forward and backward passes over ``tokens``.

    Each weight of a linear layer takes 2 FLOPs a token in each of three products (forward, gradient
    of the inputs, gradient of the weights: Kaplan et al. 2020); the output layer counts at
    ``supervised`` tokens only. Attention scores, a few percent at these lengths, are left out.
    """
    head = cast(torch.nn.Linear, model.get_output_embeddings())
    weights = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return 6 * (weights * tokens + head.weight.numel() * supervised)


def _product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    started = time.perf_counter()
    product = left @ right
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
