"""Intervals of ratios of sums, such as the loss per token of a set of texts."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, strata: ArrayLike, *, level: float
) -> tuple[float, float, float]:
    """Return sum(numerators) / sum(denominators) and its interval, of units inside strata.

    All (n,). Linearised (Cochran 1977, "Sampling Techniques", 6.4 and 6.11): the variance is
    that of the residuals x - R t, units drawn inside their stratum. Raises ValueError for
    other shapes, for denominators that are not positive, and for a stratum of one unit.
    """
    x, t = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    labels = np.asarray(strata)
    if not x.shape == t.shape == labels.shape or x.ndim != 1 or not len(x):
        raise ValueError(f"units: {x.shape}, {t.shape}, {labels.shape}: expected the same (n,)")
    if not (t > 0).all():
        raise ValueError("denominators: expected positive numbers")
    ratio = x.sum() / t.sum()
    residuals = x - ratio * t
    variance = 0.0
    for label in np.unique(labels):
        own = residuals[labels == label]
        if len(own) < 2:
            raise ValueError(f"strata: {str(label)!r}: 1 unit: expected at least 2")
        variance += len(own) * own.var(ddof=1)
    half = float(norm.ppf((1 + level) / 2)) * sqrt(variance) / t.sum()
    return float(ratio), float(ratio - half), float(ratio + half)
