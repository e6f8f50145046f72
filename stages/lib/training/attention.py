"""Attention inside the examples of a packed row.

Attention over a whole row computes a score for every pair of tokens and masks pairs from
different examples. Here, on a CPU, examples become a padded batch for the attention alone,
so only scores within an example are computed. On a GPU, FlashAttention does the same where
its package is installed; without it the scores of the whole row are masked.

An example may branch: several responses follow one prompt, each with the positions that it
would have alone. None of them attends to another.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

NAME = "per_example"

# Up to this many tokens, plain matrix products are faster than PyTorch's flash kernel,
# whose backward pass on a CPU is slow; beyond it, their scores would fill the memory.
_MATH_UP_TO = 512


def flash_attention() -> dict[str, str]:
    """Return the options that load a model with FlashAttention, or none if it is not available.

    It needs a GPU and the package ``flash-attn``.
    """
    return {"attn_implementation": "flash_attention_2"} if is_flash_attn_2_available() else {}


def attend_per_example(model: PreTrainedModel) -> None:
    """Make a model on a CPU attend inside the examples of packed rows.

    It can no longer generate: rows must come whole, with ``position_ids`` that begin
    at 0 in each example. Models with capped or windowed scores are left unchanged.
    """
    if can_attend_per_example(model):
        model.set_attn_implementation(NAME)


def can_attend_per_example(model: PreTrainedModel) -> bool:
    """Return whether a model is on a CPU and its scores are neither capped nor windowed."""
    unsupported = ("attn_logit_softcapping", "sliding_window")
    used = [name for name in unsupported if getattr(model.config, name, None) is not None]
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
    """Compute causal attention inside each example, with the signature transformers expects.

    ``query`` has the shape (1, heads, length, size), ``key`` and ``value`` may have
    fewer heads; the result is (1, length, heads, size). Padding stands behind an
    example's tokens, where a causal mask hides it from them.
    """
    indices, real = _padded_indices(position_ids[0])
    visible = _visible(position_ids[0][indices], real)
    longest = indices.shape[1]
    # From one row to a padded batch of examples, and back to the row at the end.
    with sdpa_kernel(SDPBackend.MATH) if longest <= _MATH_UP_TO else nullcontext():
        mixed = torch.nn.functional.scaled_dot_product_attention(
            *(states[0].transpose(0, 1)[indices].transpose(1, 2) for states in (query, key, value)),
            attn_mask=visible,
            dropout_p=dropout,
            scale=scaling,
            is_causal=visible is None,
            enable_gqa=True,
        )
    return mixed.transpose(1, 2).flatten(0, 1)[real.flatten()].unsqueeze(0), None


def _padded_indices(position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row index of each example's tokens, and which are not padding.

    Both are (examples, longest). Indices behind an example's end are of its neighbor.
    """
    starts = (position_ids == 0).nonzero().squeeze(-1)
    ends = torch.cat([starts[1:], starts.new_tensor([len(position_ids)])])
    indices = starts[:, None] + torch.arange(int((ends - starts).max()), device=starts.device)
    return indices.clamp(max=len(position_ids) - 1), indices < ends[:, None]


def _visible(positions: torch.Tensor, real: torch.Tensor) -> torch.Tensor | None:
    """Return the attention mask of each example, (examples, 1, longest, longest).

    ``positions`` are those of the padded tokens, ``real`` marks those that are not padding,
    both (examples, longest). None if no example branches: then a token sees all before it.
    """
    # A branch begins where positions go back.
    back = torch.zeros_like(real)
    back[:, 1:] = (positions[:, 1:] <= positions[:, :-1]) & real[:, 1:]
    if not back.any():
        return None
    branch = back.cumsum(1)
    # All tokens before the position where the branches begin are the shared prompt.
    fork = positions.masked_fill(~back, int(positions.max()) + 1).min(dim=1).values
    shared = (positions < fork[:, None]) & (branch == 0)
    longest = positions.shape[1]
    causal = torch.ones(longest, longest, dtype=torch.bool, device=positions.device).tril()
    together = (branch[:, :, None] == branch[:, None, :]) | shared[:, None, :]
    return (causal & together).unsqueeze(1)


AttentionInterface.register(NAME, attend)
