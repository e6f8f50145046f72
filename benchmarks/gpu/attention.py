"""Attention of a packed row, forward and backward: three ways to keep examples apart.

``varlen`` computes scores within examples (``stages.lib.training.varlen``); ``masked`` is
PyTorch's attention under a mask over the whole row; ``padded`` is the way of the CPU, plain
products over a padded batch (``stages.lib.training.attention``).

    python -m benchmarks.gpu.attention
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.common import Result, device, median_seconds
from stages.lib.training import attention, varlen

HEADS, KV_HEADS, SIZE = 28, 4, 128
ROWS = (2048, 8192, 16384)
EXAMPLE = 400
REPEATS = 10
# The least ratio to the padded way at the shortest row, and the largest error.
AIM, ERROR = 3.0, 1e-2

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def measure(rows: tuple[int, ...] = ROWS, example: int = EXAMPLE) -> Result:
    """Time each way at each length of a row, and compare the values with those in 32 bits."""
    figures: dict[str, Any] = {}
    errors = []
    for length in rows:
        bounds = [*range(0, length, example), length]
        states = random_states(length)
        ways = attentions(bounds)
        figures[str(length)] = {
            name: round(1000 * median_seconds(partial(backward, run, states), REPEATS), 3)
            for name, run in ways.items()
        }
        with torch.no_grad():
            exact = ways["masked"](*(part.float() for part in states))
            errors.append(float((ways["varlen"](*states).float() - exact).abs().max()))
    first = figures[str(rows[0])]
    ratio = first["padded"] / first["varlen"]
    return Result(
        "attention",
        f"varlen at least {AIM} times the padded way at {rows[0]} tokens, error at most {ERROR}",
        ratio >= AIM and max(errors) <= ERROR,
        {"ms": figures, "ratio": round(ratio, 2), "largest_error": max(errors)},
    )


def random_states(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random queries, keys and values, (1, heads, length, size), in bf16."""
    generator = torch.Generator(device()).manual_seed(0)
    query, key, value = (
        torch.randn(
            (1, heads, length, SIZE), generator=generator, device=device(), dtype=torch.bfloat16
        ).requires_grad_()
        for heads in (HEADS, KV_HEADS, KV_HEADS)
    )
    return query, key, value


def attentions(bounds: list[int]) -> dict[str, Attention]:
    """Return the three ways, for a row with these bounds of examples."""
    edges = torch.tensor(bounds, dtype=torch.int32, device=device())
    lengths = [end - start for start, end in pairwise(bounds)]
    positions = torch.cat([torch.arange(length) for length in lengths]).to(device())
    number = torch.arange(len(lengths), device=device()).repeat_interleave(edges.diff())
    causal = torch.ones(bounds[-1], bounds[-1], dtype=torch.bool, device=device()).tril()
    mask = causal & (number[:, None] == number[None, :])
    module = torch.nn.Identity()

    def by_varlen(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        longest = max(lengths)
        return varlen.attend(
            module, query, key, value, None, cu_seq_lens_q=edges, max_length_q=longest
        )[0]

    def by_mask(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=True
        ).transpose(1, 2)

    def by_padding(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention.attend(module, query, key, value, None, position_ids=positions[None])[0]

    return {"varlen": by_varlen, "masked": by_mask, "padded": by_padding}


def backward(run: Attention, states: tuple[Tensor, Tensor, Tensor]) -> None:
    """Compute the attention and its gradient."""
    run(*states).sum().backward()


if __name__ == "__main__":
    measure().print_line()
