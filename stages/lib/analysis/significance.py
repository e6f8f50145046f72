"""Significance tests, their correction for many comparisons, and detectable differences."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm
from statsmodels.stats.multitest import multipletests

from stages.lib.analysis.intervals import (
    check_open_unit,
    cluster_sums,
    label_codes,
    paired_differences,
)

POWER = 0.8
"""The share of repetitions in which a detectable difference would be significant."""


def mcnemar_p(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p of McNemar's exact test for ``first``, ``second`` (n,).

    1 if the models differ nowhere. Raises ValueError for empty arrays,
    different lengths and values other than 0 and 1.
    """
    values = paired_differences(first, second)
    discordant = int(np.count_nonzero(values))
    if discordant == 0:
        return 1.0
    return float(binomtest(int(np.sum(values > 0)), discordant).pvalue)


def sign_flip_p(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> float:
    """Return the exact two-sided p of the sign-flip test over clusters.

    If two models are equal, swapping them within a cluster changes nothing: each cluster's
    difference has either sign with probability 1/2. The distribution of the sum under all 2^G
    swaps is computed exactly. With one problem per cluster this is McNemar's exact test. With
    G clusters p is at least 2^(1 - G). Raises ValueError as ``mcnemar_p`` does, and for labels
    of another length.
    """
    values = paired_differences(first, second)
    sums = cluster_sums(values, label_codes("clusters", clusters, values.size))
    total = int(np.abs(sums).sum())
    # probabilities[s]: the absolute sums with a positive sign add up to s.
    probabilities = np.zeros(total + 1)
    probabilities[0] = 1.0
    for size in np.abs(sums[sums != 0]):
        shifted = probabilities[:-size] / 2
        probabilities /= 2
        probabilities[size:] += shifted
    swapped = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(probabilities[swapped >= abs(int(sums.sum()))].sum()))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return Holm's (1979) step-down adjusted p of a family of tests, in the given order.

    Raises ValueError for an empty family and for values outside [0, 1].
    """
    if len(p_values) == 0:
        raise ValueError("p_values: empty: expected at least one")
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p_values: {p}: expected 0 to 1")
    return np.asarray(multipletests(p_values, method="holm")[1], dtype=np.float64)


def detectable_difference(
    n: int, discordance: float, *, power: float, alpha: float
) -> float | None:
    """Return the smallest true difference that McNemar's test on n pairs would detect.

    ``discordance`` is the share of problems that exactly one model solves. With
    z = z(1 - alpha / 2) and y = z(power), the difference d solves
    sqrt(n) d = z sqrt(discordance) + y sqrt(discordance - d^2)
    (Connor 1987, "Sample size for testing differences in proportions for the
    paired-sample design"). The exact test is a little weaker: its power at d is
    0.76 to 0.79 for a nominal 0.8. None if not even d = discordance, where every
    discordant pair favors one model, would be detected. Raises ValueError for n < 1, a
    discordance outside [0, 1], and power or alpha outside (0, 1).
    """
    check_open_unit("power", power)
    check_open_unit("alpha", alpha)
    if n < 1:
        raise ValueError(f"n: {n}: expected at least 1")
    if not 0 <= discordance <= 1:
        raise ValueError(f"discordance: {discordance}: expected 0 to 1")
    z, y = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    # The equation is quadratic in d; this is its larger root.
    discriminant = n + y**2 - z**2
    if discriminant < 0 or discordance == 0:
        return None
    difference = (z * sqrt(n * discordance) + y * sqrt(discordance * discriminant)) / (n + y**2)
    return difference if difference <= discordance else None
