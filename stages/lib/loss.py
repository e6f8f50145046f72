"""The exact weighted loss of a packed row."""

from collections.abc import Mapping

import torch

from stages.lib.focal import focal_factors
from stages.lib.packing import IGNORED


def token_losses(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return −ℓ of a row's supervised tokens, in nats (n,), and their places less one (n,).

    ``row`` holds tensors of shape (1, length). Logits are made at these places only.
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
    return torch.nn.functional.cross_entropy(logits, labels[positions], reduction="none"), positions


def weighted_loss(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor], total: torch.Tensor | int
) -> torch.Tensor:
    """Return −Σ w·ℓ / total over a row's supervised tokens, ℓ their log-probabilities.

    ``row`` holds tensors of shape (1, length); ``total`` counts the supervised tokens
    of the whole optimizer step, so that micro-batches add up to the step's loss.
    w is the row's weight, times the focal factor where the row has focal columns.
    """
    losses, positions = token_losses(model, row)
    weights = row["weights"][0, 1:][positions]
    if "gammas" in row:
        weights = weights * focal_factors(losses, row, positions)
    return (losses * weights).sum() / total
