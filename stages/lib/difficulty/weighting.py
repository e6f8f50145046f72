"""From difficulty to training: how often an example counts, and when it joins."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

LARGEST_DENOMINATOR = 1_000_000
STARTING_SHARE = 0.1


def repeat_counts(levels: Sequence[float], *, base: float, factor: float) -> NDArray[np.int64]:
    """Return floor(base + factor * level) per example, (n,).

    Exact: ``base`` and ``factor`` count as the decimals they are written as
    (0.1 * 10 is 1), levels as fractions with a denominator up to a million (a
    level of 1/3 with factor 3 gives 1). Raises ValueError for no levels and for
    a combination that gives a negative number.
    """
    of_level = {}
    for level in set(levels):
        exact = Fraction(level).limit_denominator(LARGEST_DENOMINATOR)
        of_level[level] = floor(Fraction(str(base)) + Fraction(str(factor)) * exact)
    _at_least_zero(of_level, base, factor)
    return np.array([of_level[level] for level in levels], dtype=np.int64)


def start_fractions(hardness: Sequence[float], *, pace: float) -> NDArray[np.float64]:
    """Return after which share of a run each example joins, the easiest first, (n,).

    After share t of the run the easiest c = min(1, s + (1 - s) t / pace) of all
    examples take part, those of equal hardness together: the linear competence of
    Platanios et al. (2019, arXiv:1903.09848), which paces the curricula of Bengio
    et al. (2009). The starting share s is a tenth, or more if the very easiest
    are more. Raises ValueError for no examples.
    """
    if len(hardness) == 0:
        raise ValueError("hardness: empty: expected at least one example")
    competence = np.searchsorted(np.sort(hardness), hardness, side="right") / len(hardness)
    start = max(STARTING_SHARE, competence.min())
    if start == 1:
        return np.zeros(len(hardness))
    return pace * np.maximum(0, competence - start) / (1 - start)


def _at_least_zero(values: dict[float, float], base: float, factor: float) -> None:
    if not values:
        raise ValueError("levels: empty: expected at least one")
    for level, value in values.items():
        if not value >= 0:
            raise ValueError(
                f"base={base}, factor={factor}: level {level} gives {value}: expected 0 or more"
            )
