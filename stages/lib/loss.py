"""The exact weighted loss of a packed row."""

from collections.abc import Mapping

import torch

from stages.lib.focal import focal_factors
from stages.lib.packing import IGNORED


def weighted_loss(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor], total: torch.Tensor | int
) -> torch.Tensor:
    """Return −Σ w·ℓ / total over a row's supervised tokens, ℓ their log-probabilities.

    ``row`` holds tensors of shape (1, length); ``total`` counts the supervised tokens
    of the whole optimizer step, so that micro-batches add up to the step's loss.
    w is the row's weight, times the focal factor where the row has focal columns.
    Logits are made at supervised positions only.
    """
    labels = row["labels"][0, 1:]
    positions = (labels != IGNORED).nonzero().squeeze(-1)
    logits = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        logits_to_keep=positions,
        use_cache=False,
    ).logits[0]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = torch.nn.functional.cross_entropy(logits, labels[positions], reduction="none")
    weights = row["weights"][0, 1:][positions]
    if "gammas" in row:
        weights = weights * focal_factors(losses, row, positions)
    return (losses * weights).sum() / total
