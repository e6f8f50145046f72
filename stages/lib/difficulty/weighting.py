"""Repeats and starting times of training examples, by difficulty."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

INITIAL_SHARE = 0.1
"""Share of the examples that a curriculum starts with."""


def repeat_counts(levels: Sequence[float], *, base: float, factor: float) -> NDArray[np.int64]:
    """Return floor(base + factor * level) per example, (n,).

    The arithmetic is exact: ``base`` and ``factor`` are taken as their decimal spelling
    (0.1 * 10 is 1), levels as fractions with a denominator up to a million (level 1/3
    with factor 3 gives 1). Raises ValueError for no levels and for a negative result.
    """
    if not levels:
        raise ValueError("levels: empty: expected at least one")
    repeats_of = {}
    for level in set(levels):
        exact = Fraction(level).limit_denominator()
        repeats = floor(Fraction(str(base)) + Fraction(str(factor)) * exact)
        if repeats < 0:
            raise ValueError(
                f"base={base}, factor={factor}: level {level} gives {repeats}: expected 0 or more"
            )
        repeats_of[level] = repeats
    return np.array([repeats_of[level] for level in levels], dtype=np.int64)


def start_fractions(hardness: Sequence[float], *, pace: float) -> NDArray[np.float64]:
    """Return the fraction of the run after which each example joins, the easiest first, (n,).

    After the fraction t of the run, the easiest c = min(1, s + (1 - s) t / pace) of all
    examples take part: the linear competence of Platanios et al. (2019, arXiv:1903.09848),
    which paces a curriculum (Bengio et al. 2009). Examples of equal hardness join together.
    The initial share s is 0.1, or the share of the easiest examples if that is larger.
    Raises ValueError for no examples.
    """
    if len(hardness) == 0:
        raise ValueError("hardness: empty: expected at least one example")
    competence = np.searchsorted(np.sort(hardness), hardness, side="right") / len(hardness)
    start = max(INITIAL_SHARE, competence.min())
    if start == 1:
        return np.zeros(len(hardness))
    return pace * np.maximum(0, competence - start) / (1 - start)
