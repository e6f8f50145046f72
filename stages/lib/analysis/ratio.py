"""Intervals of ratios of sums, such as the loss per token of a set of texts."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, strata: ArrayLike, *, level: float
) -> tuple[float, float, float]:
    """Return sum(numerators) / sum(denominators) and its interval, for units inside strata.

    All (n,). Linearized (Cochran 1977, "Sampling Techniques", 6.4 and 6.11): the variance is
    that of the residuals x - R t, units drawn inside their stratum. Strata of one unit are
    merged into one. Raises ValueError for other shapes, for denominators that are not
    positive, and if exactly one stratum has one unit only.
    """
    x, t = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    labels = np.asarray(strata)
    if not x.shape == t.shape == labels.shape or x.ndim != 1 or not len(x):
        raise ValueError(f"units: {x.shape}, {t.shape}, {labels.shape}: expected the same (n,)")
    if not (t > 0).all():
        raise ValueError("denominators: expected positive numbers")
    ratio = x.sum() / t.sum()
    residuals = x - ratio * t
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    parts = [residuals[codes == code] for code in np.flatnonzero(counts > 1)]
    # A stratum of one unit has no variance of its own.
    singles = residuals[counts[codes] == 1]
    if len(singles) == 1:
        raise ValueError("strata: 1 unit is the only one of its stratum: expected at least 2")
    parts += [singles] if len(singles) else []
    variance = sum(len(part) * part.var(ddof=1) for part in parts)
    half = float(norm.ppf((1 + level) / 2)) * sqrt(variance) / t.sum()
    return float(ratio), float(ratio - half), float(ratio + half)
