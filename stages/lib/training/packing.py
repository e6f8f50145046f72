"""Pack token sequences into one row without padding."""

from collections.abc import Sequence
from typing import Any

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
