"""Pack token sequences into one row without padding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from stages.lib.prompts.tokenize import TokenizedExample

IGNORED = -100


def micro_batch(examples: Sequence[TokenizedExample], mean_weight: float) -> dict[str, list[Any]]:
    """Pack examples into one row: ids, labels, position ids, token weights.

    All lists have the row's length. A token that is not learned has the label -100 and the
    weight 0; a supervised token has its example's weight divided by ``mean_weight``. Raises
    ValueError if nothing is supervised.
    """
    row: dict[str, list[Any]] = {"input_ids": [], "labels": [], "position_ids": [], "weights": []}
    for example in examples:
        weight = example.weight / mean_weight
        row["input_ids"] += example.ids
        row["labels"] += [
            token if is_learned else IGNORED
            for token, is_learned in zip(example.ids, example.loss_mask, strict=True)
        ]
        row["position_ids"] += range(len(example))
        row["weights"] += [weight if is_learned else 0.0 for is_learned in example.loss_mask]
    if all(label == IGNORED for label in row["labels"]):
        raise ValueError("micro-batch: no supervised token; expected at least one response token")
    return row


def as_tensors(row: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return a packed row as tensors of shape (1, length), with the bounds of its examples.

    The bounds have the names that transformers' attention expects: ``cu_seq_lens_q`` and
    ``cu_seq_lens_k`` are (examples + 1,), ``max_length_q`` and ``max_length_k`` the length of
    the longest example. They are computed here, where the row is still on the CPU.
    """
    tensors = {name: torch.tensor([values]) for name, values in row.items()}
    positions = tensors["position_ids"][0]
    starts = (positions == 0).nonzero().squeeze(-1)
    bounds = torch.cat([starts, starts.new_tensor([len(positions)])]).to(torch.int32)
    longest = int(bounds.diff().max())
    return tensors | {
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def attention_bounds(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds of a row's examples, as a model's forward takes them, if it has them."""
    names = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
    return {name: row[name] for name in names if name in row}
