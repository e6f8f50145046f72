"""Compare two systems on the same problems."""

from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from stages.lib.analysis import intervals
from stages.lib.analysis.significance import mcnemar_p, sign_flip_p

MIN_DISCORDANT = 10
"""The fewest discordant pairs whose difference is bootstrapped."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Accuracy of the first model minus the second's, its interval, and a two-sided p."""

    difference: float
    low: float
    high: float
    p: float

    def margin(self) -> float:
        """Return the smallest margin that holds the interval on both sides of zero.

        Of an interval with probability 1 - 2a, two one-sided tests at level a find the models
        equivalent within any larger margin (Schuirmann 1987).
        """
        return max(abs(self.low), abs(self.high))

    def interval(self) -> dict[str, float]:
        """Return the difference and its interval as columns of a table."""
        return {name: round(getattr(self, name), 4) for name in ("difference", "low", "high")}


def compare(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    **bootstrap: Unpack[intervals.Bootstrap],
) -> Comparison:
    """Compare two models' ``first`` and ``second`` (n,) on the same problems.

    The interval is ``paired_interval``; with fewer than ``MIN_DISCORDANT`` discordant pairs, or
    clusters with a difference, too few to resample, it is ``sparse_interval``. p is ``mcnemar_p``,
    or ``sign_flip_p`` if there are clusters. Raises ValueError as these do.
    """
    differences = intervals.paired_differences(first, second)
    difference = float(np.mean(differences))
    units = differences
    if clusters is not None:
        codes = intervals.label_codes("clusters", clusters, differences.size)
        units = intervals.cluster_sums(differences, codes)
    if np.count_nonzero(units) < MIN_DISCORDANT:
        low, high = intervals.sparse_interval(first, second, clusters, level=bootstrap["level"])
    else:
        low, high = intervals.paired_interval(first, second, clusters, strata=strata, **bootstrap)
    p = mcnemar_p(first, second) if clusters is None else sign_flip_p(first, second, clusters)
    return Comparison(difference=difference, low=low, high=high, p=p)
