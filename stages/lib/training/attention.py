"""Attention inside the examples of a packed row.

Attention over a whole row computes a score for every pair of tokens and masks pairs from
different examples. Only scores within an example are needed. On a GPU, FlashAttention computes
these alone (``stages.lib.training.varlen``). On a CPU, examples become a padded batch here, for
the attention alone.

An example may branch: several responses follow one prompt, each with the positions that it
would have alone. None of them attends to another.
"""

from math import sqrt
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.utils.import_utils import is_flash_attn_2_available

from stages.lib.training import varlen

NAME = "per_example"

# Up to this many tokens, plain matrix products are faster than PyTorch's flash kernel,
# whose backward pass on a CPU is slow; beyond it, their scores would fill the memory.
_PRODUCTS_UP_TO = 512


# The first GPUs that FlashAttention's kernels run on: Ampere.
_FLASH_CAPABILITY = (8, 0)


def attend_per_example(model: PreTrainedModel, device: torch.device | None = None) -> None:
    """Make a model attend inside the examples of packed rows, by the best kernel of a device.

    ``device`` is where the model will run, by default where it is. The model can no longer
    generate: it needs the rows of ``stages.lib.training.packing``. A model that no kernel is
    for keeps its attention, which masks the scores of the whole row.
    """
    name = choose_attention(model.config, model.device if device is None else device)
    if name is not None:
        model.set_attn_implementation(name)


def can_attend_per_example(model: PreTrainedModel) -> bool:
    """Return whether a model is on a CPU and ``attend`` computes its attention."""
    return choose_attention(model.config, model.device) == NAME


def choose_attention(config: PreTrainedConfig, device: torch.device) -> str | None:
    """Return transformers' name of the attention inside examples, or None if there is none.

    On a CPU scores must be neither capped nor windowed. On a GPU the package ``flash-attn`` is
    used if it is installed, and else PyTorch's kernels, which neither cap scores nor drop them.
    """
    is_capped = getattr(config, "attn_logit_softcapping", None) is not None
    if device.type == "cpu":
        is_windowed = getattr(config, "sliding_window", None) is not None
        return None if is_capped or is_windowed else NAME
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _FLASH_CAPABILITY:
        return None
    if is_flash_attn_2_available():
        return "flash_attention_2"
    return None if is_capped or getattr(config, "attention_dropout", 0) else varlen.NAME


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
    # From one row to a padded batch of examples, and back to the row at the end.
    query, key, value = (
        _take(states[0].transpose(0, 1), indices) for states in (query, key, value)
    )
    scale = 1 / sqrt(query.shape[-1]) if scaling is None else scaling
    mix = _mix_by_products if indices.shape[1] <= _PRODUCTS_UP_TO else _mix_by_blocks
    mixed = mix(query, key, value, visible, scale, dropout)
    return _take(mixed.flatten(0, 1), real.flatten().nonzero().squeeze(-1)).unsqueeze(0), None


def _take(rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return ``rows[indices]``; a lookup of embeddings has the faster backward pass."""
    taken = torch.nn.functional.embedding(indices, rows.flatten(1))
    return taken.unflatten(-1, rows.shape[1:])


def _mix_by_products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor | None,
    scaling: float,
    dropout: float,
) -> torch.Tensor:
    """Attend with all scores at once, in the precision of transformers' eager attention.

    ``query`` and the result are (examples, longest, heads, size). Heads that share a key are
    stacked into one product, so keys and values are not repeated.
    """
    longest, heads = query.shape[1:3]
    groups = (key.shape[2], heads // key.shape[2])
    stacked = (query * scaling).unflatten(2, groups).permute(0, 2, 3, 1, 4).flatten(2, 3)
    scores = (stacked @ key.permute(0, 2, 3, 1)).unflatten(2, (-1, longest))
    if visible is None:
        visible = torch.ones(longest, longest, dtype=torch.bool, device=query.device).tril()
    hidden = scores.new_zeros(visible.shape).masked_fill(~visible, -torch.inf)
    weights = (scores + hidden.unsqueeze(-3)).softmax(-1)
    if dropout:
        weights = torch.nn.functional.dropout(weights, dropout)
    mixed = weights.flatten(2, 3) @ value.transpose(1, 2)
    return mixed.unflatten(2, (-1, longest)).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _mix_by_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    visible: torch.Tensor | None,
    scaling: float,
    dropout: float,
) -> torch.Tensor:
    """Attend with PyTorch's flash kernel, which never holds all scores."""
    return torch.nn.functional.scaled_dot_product_attention(
        *(states.transpose(1, 2) for states in (query, key, value)),
        attn_mask=visible,
        dropout_p=dropout,
        scale=scaling,
        is_causal=visible is None,
        enable_gqa=True,
    ).transpose(1, 2)


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
