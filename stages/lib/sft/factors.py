"""Loss-weight factors from token or response probability.

- ``focal``: (1 - p)^power, p the probability that the model in training gives a unit, as in Lin et
  al. (2017, arXiv:1708.02002). A unit is a token, or a whole response with the geometric mean of
  its tokens.
- ``likelihood``: p^power, p the product over the unit. With units of one token and power 1 these
  are the weights of DFT (Wu et al. 2025, arXiv:2508.05629); of whole responses, p^c is the
  gradient of exp(-c * loss), the estimate of accuracy that online arms use.
- ``base_likelihood``: the same by the frozen base model: PriFT (arXiv:2606.09396).

A factor is a constant to the gradient, as the loss weights of all other arms are: it scales a
token's gradient, whose direction stays that of the log-likelihood. ``anchor`` adds the divergence
of the model from the frozen base, KL(base || model), at every supervised token: ASFT (Zhu et al.
2025, arXiv:2509.23753), in the direction of its authors' code.

The factors are not scaled to mean 1: their mean is known only at the end of the step, and
AdamW is almost invariant to the scale of a loss. So a factor depends on its own example
alone, and any split of a step into micro-batches and processes has the same gradient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from stages.lib.core.schema import ExampleInfo, Factor, FactorUnit

NO_UNIT = -1


@dataclass(frozen=True)
class LossFactor:
    """The factor of an arm's loss weights, and the weight of the divergence from the base."""

    kind: Factor
    power: float
    unit: FactorUnit
    anchor: float

    @property
    def needs_base(self) -> bool:
        """Whether the frozen base model reads every row, too."""
        return self.kind == "base_likelihood" or self.anchor > 0


def loss_factor(examples: Sequence[ExampleInfo]) -> LossFactor | None:
    """Return the factor of an arm's examples, which share it, or None if they have none.

    Raises ValueError if they do not share it, and for an anchor without a factor.
    """
    factors = {
        LossFactor(row.factor, row.factor_power, row.factor_unit, row.anchor) for row in examples
    }
    if len(factors) > 1:
        raise ValueError(f"examples: {len(factors)} loss factors: expected one for all")
    factor = factors.pop()
    if factor.kind == "none":
        if factor.anchor:
            raise ValueError(f"examples: anchor {factor.anchor}: expected a loss factor beside it")
        return None
    return factor


def count_units(example: ExampleInfo, supervised: int) -> int:
    """Return the number of units of an example with ``supervised`` tokens."""
    return supervised if example.factor_unit == "token" else 1


def factor_columns(
    examples: Sequence[ExampleInfo],
    loss_masks: Sequence[Sequence[bool]],
    rng: np.random.Generator,
) -> dict[str, list[Any]]:
    """Return the columns that ``loss_factors`` needs for a row of concatenated examples.

    A unit is one supervised token of an example or all of them, by its ``factor_unit``. The
    lists have the row's length and hold, for each supervised token, in ``units`` the one that
    it belongs to, from 0, and in ``factor_units`` the one whose probability counts: its own or,
    where factors are shuffled, one drawn from the row's without replacement.
    """
    units: list[int] = []
    shuffled: list[int] = []
    n_units = 0
    for example, loss_mask in zip(examples, loss_masks, strict=True):
        n_own = count_units(example, sum(loss_mask))
        # The number of supervised tokens before each token.
        positions = accumulate(loss_mask, initial=0)
        units += [
            n_units + min(position, n_own - 1) if learned else NO_UNIT
            for learned, position in zip(loss_mask, positions, strict=False)
        ]
        if example.factor_shuffled:
            shuffled += range(n_units, n_units + n_own)
        n_units += n_own
    factor_unit_of = np.arange(n_units)
    factor_unit_of[shuffled] = rng.permutation(np.array(shuffled, dtype=np.int64))
    factor_units = [NO_UNIT if unit == NO_UNIT else int(factor_unit_of[unit]) for unit in units]
    return {"units": units, "factor_units": factor_units}


@torch.no_grad()
def loss_factors(
    losses: torch.Tensor,
    row: Mapping[str, torch.Tensor],
    positions: torch.Tensor,
    factor: LossFactor,
) -> torch.Tensor:
    """Return the factor of each supervised token, (n,), without a gradient.

    ``losses`` (n,) are the tokens' negative log-probabilities by the model that sets the
    factor; ``positions`` (n,) are their positions in the columns of ``row``, each (1, length),
    minus one. A token's factor is that of the unit in ``factor_units``.
    """
    units, factor_units = (row[name][0, 1:][positions] for name in ("units", "factor_units"))
    reduction = "mean" if factor.kind == "focal" else "sum"
    log_p = torch.segment_reduce(-losses, reduction, lengths=torch.bincount(units))[factor_units]
    if factor.kind == "focal":
        return (-torch.expm1(log_p)).clamp(min=0).pow(factor.power)
    return torch.exp(factor.power * log_p)


def divergence(logits: torch.Tensor, base_logits: torch.Tensor) -> torch.Tensor:
    """Return KL(base || model) of the next token, (n,), from logits of (n, vocabulary)."""
    # Of at least 32 bits.
    dtype = torch.promote_types(logits.dtype, torch.float32)
    log_p, base_log_p = (tensor.log_softmax(-1, dtype=dtype) for tensor in (logits, base_logits))
    return torch.nn.functional.kl_div(log_p, base_log_p, log_target=True, reduction="none").sum(-1)
