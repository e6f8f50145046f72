"""How much of the machine's arithmetic a training run uses: model FLOPs over a measured ceiling."""

import time
from typing import cast

import torch
from transformers import PreTrainedModel

# Long enough to be past the caches, short enough for a second a trial.
SIZE, TRIALS = 4096, 5


def bf16_ceiling() -> float:
    """Return the FLOP/s of the fastest of a few bf16 products of square matrices."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one, other = (torch.randn(SIZE, SIZE, device=device).bfloat16() for _ in range(2))
    return max(2 * SIZE**3 / _seconds(one, other) for _ in range(TRIALS))


def of_training(model: PreTrainedModel, tokens: int, supervised: int) -> int:
    """Return the FLOPs of forward and backward passes over ``tokens``.

    Two for each weight of a linear layer and token, thrice (forward, gradient of the
    inputs, of the weights: Kaplan et al. 2020), the output layer at ``supervised`` tokens
    only. Attention's scores, a few percent at these lengths, are left out.
    """
    head = cast(torch.nn.Linear, model.get_output_embeddings())
    weights = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return 6 * (weights * tokens + head.weight.numel() * supervised)


def _seconds(one: torch.Tensor, other: torch.Tensor) -> float:
    started = time.perf_counter()
    product = one @ other
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
