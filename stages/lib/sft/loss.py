"""The exact weighted loss of a packed row."""

from collections.abc import Mapping

import torch

from stages.lib.sft.focal import focal_factors
from stages.lib.training.likelihood import token_losses


def weighted_loss(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor], total: torch.Tensor | int
) -> torch.Tensor:
    """Return −Σ w·ℓ / total over a row's supervised tokens, ℓ their log-probabilities.

    ``row`` holds tensors of shape (1, length); ``total`` counts the supervised tokens
    of the whole optimizer step, so that micro-batches add up to the step's loss.
    w is the token's weight, times its focal factor if the row has focal columns.
    """
    losses, positions = token_losses(model, row)
    weights = row["weights"][0, 1:][positions]
    if "gammas" in row:
        weights = weights * focal_factors(losses, row, positions)
    return (losses * weights).sum() / total
