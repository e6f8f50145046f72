"""Focal weights: a token counts the more, the less the model expects it while it trains.

As in Lin et al. (2017, arXiv:1708.02002) a loss is multiplied by (1 - p)^gamma, p the
model's own probability of what is learned. Here the factor is a constant to the
gradient, as the loss weights of all other arms are: it says how much a token counts,
and the direction of its gradient stays that of its log-likelihood.

The factors are not scaled to mean 1: their mean is known only when the whole step is,
and AdamW hardly feels the scale of a loss. So a factor depends on its own example
alone, and any split of a step into micro-batches and processes has the same gradient.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from stages.lib.core.schema import Example

NO_UNIT = -1


def focal_columns(
    examples: Sequence[Example],
    learned: Sequence[Sequence[bool]],
    rng: np.random.Generator,
) -> dict[str, list[Any]]:
    """Return what ``focal_factors`` needs to know of a row of concatenated examples.

    ``learned`` says which tokens of each example are. A unit is all of these or one of
    them, as the example's ``focal_level`` says. The lists have the row's length and say,
    of each learned token, its ``gammas``, the ``units`` it belongs to, from 0, and the
    unit that ``judges`` it: its own, or, where factors are dealt, one that is drawn from
    the row's without replacement.
    """
    row: dict[str, list[Any]] = {"gammas": [], "units": []}
    dealt: list[int] = []
    n_units = 0
    for example, of_example in zip(examples, learned, strict=True):
        n_own = sum(of_example) if example.focal_level == "token" else 1
        places = accumulate(of_example, initial=0)
        row["gammas"] += [example.focal_gamma if one else 0.0 for one in of_example]
        row["units"] += [
            n_units + min(place, n_own - 1) if one else NO_UNIT
            for one, place in zip(of_example, places, strict=False)
        ]
        if example.focal_shuffled:
            dealt += range(n_units, n_units + n_own)
        n_units += n_own
    judge_of = np.arange(n_units)
    judge_of[dealt] = rng.permutation(np.array(dealt, dtype=np.int64))
    judges = [NO_UNIT if unit == NO_UNIT else int(judge_of[unit]) for unit in row["units"]]
    return row | {"judges": judges}


@torch.no_grad()
def focal_factors(
    losses: torch.Tensor, row: Mapping[str, torch.Tensor], positions: torch.Tensor
) -> torch.Tensor:
    """Return (1 - p)^gamma per supervised token, (n,), without a gradient.

    ``losses`` (n,) are the tokens' negative log-probabilities; ``positions`` (n,)
    are their places in the columns of ``row``, each (1, length), less one. p is the
    geometric mean of the probabilities of the tokens of the unit that judges: at the
    level of tokens the one token's, at that of examples the whole response's.
    """
    gammas, units, judges = (row[name][0, 1:][positions] for name in ("gammas", "units", "judges"))
    means = torch.segment_reduce(-losses, "mean", lengths=torch.bincount(units))
    return (-torch.expm1(means[judges])).clamp(min=0).pow(gammas)
