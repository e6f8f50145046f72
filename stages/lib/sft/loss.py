"""The exact weighted loss of a packed row, and what it shows of each example."""

from collections.abc import Callable, Mapping

import torch

from stages.lib.sft.factors import LossFactor, divergence, loss_factors
from stages.lib.training.likelihood import supervised_logits, token_losses

ExampleScore = tuple[int, float, bool]
"""An example's position in its step, its loss in nats, and whether greedy decoding writes it."""


def weighted_loss(
    model: torch.nn.Module,
    row: Mapping[str, torch.Tensor],
    total: torch.Tensor | int,
    on_scores: Callable[[list[ExampleScore]], object] | None = None,
    factor: LossFactor | None = None,
    base: torch.nn.Module | None = None,
) -> torch.Tensor:
    """Return −Σ w·ℓ / total over a row's supervised tokens, ℓ their log-probabilities.

    ``row`` holds tensors of shape (1, length); ``total`` counts the supervised tokens
    of the whole optimizer step, so that micro-batches add up to the step's loss.
    w is the token's weight, times its ``factor`` if there is one; the factor's divergence from
    the frozen ``base`` is added. ``base`` is run on the row if the factor needs it.
    ``on_scores`` is called with the score of each example, if the row has their positions.
    """
    logits, targets, positions = supervised_logits(model, row)
    losses = token_losses(logits, targets)
    if on_scores is not None and "example_positions" in row:
        example_positions = row["example_positions"][0, 1:][positions]
        on_scores(_example_scores(logits, targets, losses, example_positions))
    weights = row["weights"][0, 1:][positions]
    if factor is None:
        return (losses * weights).sum() / total
    factor_losses, base_logits = losses, None
    if base is not None:
        with torch.no_grad():
            base_logits, _, _ = supervised_logits(base, row)
    if factor.kind == "base_likelihood":
        assert base_logits is not None
        factor_losses = token_losses(base_logits, targets)
    loss = (losses * weights * loss_factors(factor_losses, row, positions, factor)).sum()
    if factor.anchor:
        assert base_logits is not None
        loss = loss + factor.anchor * divergence(logits, base_logits).sum()
    return loss / total


@torch.no_grad()
def _example_scores(
    logits: torch.Tensor, targets: torch.Tensor, losses: torch.Tensor, positions: torch.Tensor
) -> list[ExampleScore]:
    """Sum up the tokens of each example; all are (n,), ``logits`` (n, vocabulary)."""
    distinct, lengths = positions.unique_consecutive(return_counts=True)
    sums = torch.segment_reduce(losses.double(), "sum", lengths=lengths)
    hits = (logits.argmax(-1) == targets).double()
    shares = torch.segment_reduce(hits, "mean", lengths=lengths)
    return list(zip(distinct.tolist(), sums.tolist(), (shares == 1).tolist(), strict=True))
