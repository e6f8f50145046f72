"""The exact weighted loss of a packed row, and what it shows of each example."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from stages.lib.sft.factors import LossFactor, divergence, loss_factors
from stages.lib.training.likelihood import supervised_logits, token_losses
from stages.lib.training.packing import attention_bounds

ExampleScore = tuple[int, float, bool]
"""An example's position in its step, its loss in nats, and whether greedy decoding writes it."""


def weighted_loss(
    model: torch.nn.Module,
    row: Mapping[str, Any],
    total: torch.Tensor | int,
    on_scores: Callable[[list[ExampleScore]], object] | None = None,
    factor: LossFactor | None = None,
    base: torch.nn.Module | None = None,
    *,
    fused: bool = False,
) -> torch.Tensor:
    """Return −Σ w·ℓ / total over a row's supervised tokens, ℓ their log-probabilities.

    ``row`` is that of ``stages.lib.training.packing.as_tensors``; ``total`` counts the supervised
    tokens of the whole optimizer step, so that micro-batches add up to the step's loss.
    w is the token's weight, times its ``factor`` if there is one; the factor's divergence from
    the frozen ``base`` is added. ``base`` is run on the row if the factor needs it.
    ``on_scores`` is called with the score of each example, if the row has their positions.
    ``fused`` asks for TRL's fused output layer, unless the divergence needs all logits.
    """
    needs_logits = factor is not None and factor.anchor > 0
    read = _read_fused if fused and not needs_logits else _read_logits
    tokens = read(model, row)
    if on_scores is not None and "example_positions" in row:
        example_positions = row["example_positions"][0, 1:][tokens.positions]
        on_scores(_example_scores(tokens, example_positions))
    weights = row["weights"][0, 1:][tokens.positions]
    if factor is None:
        return (tokens.losses * weights).sum() / total
    factor_losses, base_logits = tokens.losses, None
    if base is not None:
        with torch.no_grad():
            base_logits, targets, _ = supervised_logits(base, row)
        if factor.kind == "base_likelihood":
            factor_losses = token_losses(base_logits, targets)
    factors = loss_factors(factor_losses, row, tokens.positions, factor)
    loss = (tokens.losses * weights * factors).sum()
    if needs_logits:
        assert base_logits is not None
        assert tokens.logits is not None
        loss = loss + factor.anchor * divergence(tokens.logits, base_logits).sum()
    return loss / total


@dataclass(frozen=True)
class _SupervisedTokens:
    """What a model says of a row's n supervised tokens; ``positions`` are theirs, minus one.

    ``losses`` (n,) are in nats, ``is_top1`` (n,) says which tokens greedy decoding would write,
    and ``logits`` (n, vocabulary) are None after a fused output layer.
    """

    losses: torch.Tensor
    positions: torch.Tensor
    is_top1: Callable[[], torch.Tensor]
    logits: torch.Tensor | None = None


def _read_logits(model: torch.nn.Module, row: Mapping[str, Any]) -> _SupervisedTokens:
    """Compute the logits of the supervised tokens."""
    logits, targets, positions = supervised_logits(model, row)
    losses = token_losses(logits, targets)
    return _SupervisedTokens(losses, positions, lambda: logits.argmax(-1) == targets, logits)


def _read_fused(model: torch.nn.Module, row: Mapping[str, Any]) -> _SupervisedTokens:
    """Compute losses without holding the logits, by the layer that TRL's trainer adds to a model.

    It takes the logits of a tile of tokens and words at a time, in the backward pass again.
    """
    output = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        labels=row["labels"],
        fused_lm_head=True,
        **attention_bounds(row),
    )
    positions = output.label_mask[0].nonzero().squeeze(-1)
    is_top1 = output.is_top1[0][positions]
    return _SupervisedTokens(-output.log_probs[0][positions], positions, lambda: is_top1)


@torch.no_grad()
def _example_scores(
    tokens: _SupervisedTokens, example_positions: torch.Tensor
) -> list[ExampleScore]:
    """Sum up the tokens of each example; ``example_positions`` (n,) tells them apart."""
    distinct, lengths = example_positions.unique_consecutive(return_counts=True)
    sums = torch.segment_reduce(tokens.losses.double(), "sum", lengths=lengths)
    shares = torch.segment_reduce(tokens.is_top1().double(), "mean", lengths=lengths)
    return list(zip(distinct.tolist(), sums.tolist(), (shares == 1).tolist(), strict=True))
