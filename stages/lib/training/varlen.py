"""FlashAttention inside the examples of a packed row, with PyTorch's own kernels, on a GPU.

The kernels are built into PyTorch (``torch.nn.attention.varlen``), so nothing has to be
compiled. They need the bounds of the examples, which ``stages.lib.training.packing`` puts into
each row under the names that transformers uses.
"""

from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

NAME = "varlen"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Compute causal attention inside each example, with the signature transformers expects.

    ``query`` has the shape (1, heads, length, size), ``key`` and ``value`` may have fewer
    heads; the result is (1, length, heads, size). ``cu_seq_lens_q`` (examples + 1,) has the
    bounds of the examples in the row, ``max_length_q`` is at least the length of the longest.
    """
    # A token sees itself and, of those before it, all or ``sliding_window`` - 1.
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    mixed = varlen_attn(
        query,
        key,
        value,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=window,
        enable_gqa=True,
    )
    assert isinstance(mixed, torch.Tensor)  # no auxiliary output was asked for
    return mixed.unsqueeze(0), None


AttentionInterface.register(NAME, attend)
