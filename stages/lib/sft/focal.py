"""Focal weights: a token counts more the less probable the model finds it while it trains.

As in Lin et al. (2017, arXiv:1708.02002) a loss is multiplied by (1 - p)^gamma, p the
model's own probability of what is learned. Here the factor is a constant to the
gradient, as the loss weights of all other arms are: it scales a token's gradient, whose
direction stays that of the log-likelihood.

The factors are not scaled to mean 1: their mean is known only at the end of the step, and
AdamW is almost invariant to the scale of a loss. So a factor depends on its own example
alone, and any split of a step into micro-batches and processes has the same gradient.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from stages.lib.core.schema import Example

NO_UNIT = -1


def count_units(example: Example, supervised: int) -> int:
    """Return the number of focal units of an example with ``supervised`` tokens."""
    return supervised if example.focal_level == "token" else 1


def focal_columns(
    examples: Sequence[Example],
    loss_masks: Sequence[Sequence[bool]],
    rng: np.random.Generator,
) -> dict[str, list[Any]]:
    """Return the columns that ``focal_factors`` needs for a row of concatenated examples.

    A unit is one supervised token of an example or all of them, by its ``focal_level``. The
    lists have the row's length and hold, for each supervised token, its ``gammas``, the
    ``units`` it belongs to, from 0, and in ``judges`` the unit whose probability counts: its
    own or, where factors are shuffled, one drawn from the row's without replacement.
    """
    row: dict[str, list[Any]] = {"gammas": [], "units": []}
    shuffled: list[int] = []
    n_units = 0
    for example, loss_mask in zip(examples, loss_masks, strict=True):
        n_own = count_units(example, sum(loss_mask))
        # The number of supervised tokens before each token.
        positions = accumulate(loss_mask, initial=0)
        row["gammas"] += [example.focal_gamma if learned else 0.0 for learned in loss_mask]
        row["units"] += [
            n_units + min(position, n_own - 1) if learned else NO_UNIT
            for learned, position in zip(loss_mask, positions, strict=False)
        ]
        if example.focal_shuffled:
            shuffled += range(n_units, n_units + n_own)
        n_units += n_own
    judge_of = np.arange(n_units)
    judge_of[shuffled] = rng.permutation(np.array(shuffled, dtype=np.int64))
    judges = [NO_UNIT if unit == NO_UNIT else int(judge_of[unit]) for unit in row["units"]]
    return row | {"judges": judges}


@torch.no_grad()
def focal_factors(
    losses: torch.Tensor, row: Mapping[str, torch.Tensor], positions: torch.Tensor
) -> torch.Tensor:
    """Return (1 - p)^gamma per supervised token, (n,), without a gradient.

    ``losses`` (n,) are the tokens' negative log-probabilities; ``positions`` (n,)
    are their positions in the columns of ``row``, each (1, length), minus one. p is the
    geometric mean of the probabilities of the tokens of the unit that sets the weight (of
    ``judges``): one token at level "token", the whole response at level "example".
    """
    gammas, units, judges = (row[name][0, 1:][positions] for name in ("gammas", "units", "judges"))
    means = torch.segment_reduce(-losses, "mean", lengths=torch.bincount(units))
    return (-torch.expm1(means[judges])).clamp(min=0).pow(gammas)
