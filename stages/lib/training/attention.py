"""Attention inside the examples of a packed row.

Attention over a whole row computes a score for every pair of its tokens and masks
those of different examples. Here, on a CPU, examples become a padded batch for the
time of the attention alone, so their scores are all that is computed. On a GPU,
FlashAttention does as much, where its package is installed; without it the scores of
the whole row are masked.

An example may branch: several responses follow each other behind one prompt, each with
the positions that it would have alone. None of them attends to another.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

NAME = "per_example"

# Up to this many tokens, plain matrix products are faster than PyTorch's flash kernel,
# whose backward pass on a CPU is slow; beyond, their scores would fill the memory.
_PLAIN_UP_TO = 512


def flash_attention() -> dict[str, str]:
    """Return the options that load a model with FlashAttention, none where it cannot be had.

    It wants a GPU and the package ``flash-attn``.
    """
    return {"attn_implementation": "flash_attention_2"} if is_flash_attn_2_available() else {}


def attend_per_example(model: PreTrainedModel) -> None:
    """Let a model on a CPU attend inside the examples of packed rows.

    It can no longer generate: rows must come whole, with ``position_ids`` that begin
    at 0 in each example. Models whose scores are capped or windowed are left as they are.
    """
    if can_attend_per_example(model):
        model.set_attn_implementation(NAME)


def can_attend_per_example(model: PreTrainedModel) -> bool:
    """Say whether a model is on a CPU and its scores are neither capped nor windowed."""
    special = ("attn_logit_softcapping", "sliding_window")
    used = [name for name in special if getattr(model.config, name, None) is not None]
    return model.device.type == "cpu" and not used


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    position_ids: torch.Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return causal attention inside each example, as transformers asks for it.

    ``query`` has the shape (1, heads, length, size), ``key`` and ``value`` may have
    fewer heads; the result is (1, length, heads, size). Padding stands behind an
    example's tokens, where a causal mask hides it from them.
    """
    places, real = _layout(position_ids[0])
    visible = _visible(position_ids[0][places], real)
    longest = places.shape[1]
    with sdpa_kernel(SDPBackend.MATH) if longest <= _PLAIN_UP_TO else nullcontext():
        mixed = torch.nn.functional.scaled_dot_product_attention(
            *(states[0].transpose(0, 1)[places].transpose(1, 2) for states in (query, key, value)),
            attn_mask=visible,
            dropout_p=dropout,
            scale=scaling,
            is_causal=visible is None,
            enable_gqa=True,
        )
    return mixed.transpose(1, 2).flatten(0, 1)[real.flatten()].unsqueeze(0), None


def _layout(position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each example's places in the row, (examples, longest), and which of them count.

    Places behind an example's end are those of its neighbour.
    """
    starts = (position_ids == 0).nonzero().squeeze(-1)
    ends = torch.cat([starts[1:], starts.new_tensor([len(position_ids)])])
    places = starts[:, None] + torch.arange(int((ends - starts).max()), device=starts.device)
    return places.clamp(max=len(position_ids) - 1), places < ends[:, None]


def _visible(positions: torch.Tensor, real: torch.Tensor) -> torch.Tensor | None:
    """Return what each token of each example may see, (examples, 1, longest, longest).

    ``positions`` are those of the tokens in their places, ``real`` says which places count,
    both (examples, longest). None if no example branches, for then a token sees all that
    stands before it.
    """
    back = torch.zeros_like(real)
    back[:, 1:] = (positions[:, 1:] <= positions[:, :-1]) & real[:, 1:]
    if not back.any():
        return None
    branch = back.cumsum(1)
    fork = positions.masked_fill(~back, int(positions.max()) + 1).min(dim=1).values
    shared = (positions < fork[:, None]) & (branch == 0)
    longest = positions.shape[1]
    causal = torch.ones(longest, longest, dtype=torch.bool, device=positions.device).tril()
    together = (branch[:, :, None] == branch[:, None, :]) | shared[:, None, :]
    return (causal & together).unsqueeze(1)


AttentionInterface.register(NAME, attend)
