"""Standard errors and intervals of accuracies, means and paired differences.

Most functions take arrays of 0 and 1, one entry per problem: did the model solve it? Two
arguments describe the sampling design, that is, what a repetition of the experiment would
draw again:

- ``clusters``: a label per problem. Problems of one cluster (a template with other numbers)
  are correlated, and the clusters are a sample of all such clusters: whole clusters are drawn.
  ``None``: each problem is drawn by itself.
- ``strata``: a label per problem. The groups are fixed by the design (the rungs of a ladder,
  the subjects of an exam): a repetition has the same groups of the same sizes, and draws
  happen only inside each. ``None``: one group.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm

MAX_CELLS = 1_000_000
"""Bootstrap counts that are held in memory at a time."""

ROUNDING = 1e-12
"""Differences below this are rounding errors."""


class Bootstrap(TypedDict):
    """The number of bootstrap draws, the level of the intervals, and the generator."""

    draws: int
    level: float
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class _Stratum:
    """The units (clusters, or single problems) of one stratum, equal ones counted together.

    ``weight`` is the stratum's share of the problems; ``kinds`` (2, K) holds the sum of values
    and the number of problems of a unit, ``counts`` (K,) how many units are of that kind.
    """

    weight: float
    kinds: NDArray[np.int64]
    counts: NDArray[np.intp]


def standard_error(
    correct: ArrayLike, clusters: ArrayLike | None = None, *, strata: ArrayLike | None = None
) -> float:
    """Return the standard error of the mean of ``correct`` (n,), a share.

    The sandwich estimate by cluster with the factor G / (G - 1) (Liang and Zeger 1986; for
    language models: Miller 2024, "Adding Error Bars to Evals"), added up over the strata. Raises
    ValueError for an empty array, values other than 0 and 1, labels of another length, a cluster
    in two strata, and a stratum with one unit only.
    """
    return _moments(_strata(_binary("correct", correct).astype(np.int64), clusters, strata))[1]


def wilson_interval(n_correct: int, n: int, *, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927).

    Raises ValueError unless n >= 1, 0 <= n_correct <= n and 0 < level < 1.
    """
    check_open_unit("level", level)
    if n < 1:
        raise ValueError(f"n: {n}: expected at least 1")
    if not 0 <= n_correct <= n:
        raise ValueError(f"n_correct: {n_correct}: expected 0 to n={n}")
    interval = binomtest(n_correct, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def paired_interval(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    **bootstrap: Unpack[Bootstrap],
) -> tuple[float, float]:
    """Return a bootstrap interval of mean(first) - mean(second), both (n,).

    This is the symmetric studentized bootstrap (Hall 1988, "On symmetric bootstrap confidence
    intervals"). Units are drawn with replacement inside their stratum, ``draws`` times. Each
    draw's distance from the observed difference is divided by the draw's own standard error;
    the ``level`` quantile of these distances, times the observed standard error, is the half
    width of the interval.

    Measured coverage on 5,000 simulated data sets per case, nominal 95%: with 14 clusters 96
    to 97%, where the plain percentile interval covers 91 to 92% and comes within 1.5 points of
    95% only from 30 clusters (equal sizes) to 100 (unequal sizes) on. With 5 clusters the
    interval is wide (97 to 99%). Where a fifth of the clusters carries the whole difference,
    8 to 14 clusters cover too rarely (93 to 94%); from 20 clusters on it is 95%.

    Models without a single discordant pair give the interval (0, 0): no difference was seen,
    which does not mean that there is none.

    Raises ValueError for empty arrays, different lengths, values other than 0 and 1, fewer than
    one draw, a level outside (0, 1), a cluster in two strata, and a stratum with one unit only.
    """
    parts = _strata(paired_differences(first, second), clusters, strata)
    low, high = _symmetric(parts, **bootstrap)
    return max(-1.0, low), min(1.0, high)


def mean_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    **bootstrap: Unpack[Bootstrap],
) -> tuple[float, float]:
    """Return a bootstrap interval of the mean of ``values`` (n,), integers of any size.

    The bootstrap is that of ``paired_interval``. Raises ValueError for an empty array, values
    that are not whole, fewer than one draw, a level outside (0, 1), a cluster in two strata,
    and a stratum with one unit only.
    """
    array = _as_list("values", values)
    whole = array.astype(np.int64)
    if np.any(whole != array):
        raise ValueError(f"values: {array[whole != array][0]}: expected whole numbers")
    return _symmetric(_strata(whole, clusters, strata), **bootstrap)


def sparse_interval(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike | None = None, *, level: float
) -> tuple[float, float]:
    """Return an interval of mean(first) - mean(second), both (n,), for few discordant units.

    This is Wald's interval after half a problem is added to each of the four cells (Agresti and
    Min 2005, "Simple improved confidence intervals for comparing matched proportions"). Of
    clusters of equal size, whose differences are shares, it adds as much. It ignores strata, which
    makes it a little wider. Raises ValueError for empty arrays, different lengths,
    values other than 0 and 1, and a level outside (0, 1).
    """
    check_open_unit("level", level)
    differences = paired_differences(first, second).astype(np.float64)
    if clusters is not None:
        codes = label_codes("clusters", clusters, differences.size)
        differences = np.bincount(codes, differences) / np.bincount(codes)
    n = differences.size + 2
    squares, net = float((differences**2).sum()) + 1, float(differences.sum())
    half = norm.ppf((1 + level) / 2) * sqrt(squares - net**2 / n) / n
    return float(max(-1, net / n - half)), float(min(1, net / n + half))


def _strata(
    values: NDArray[np.int64], clusters: ArrayLike | None, strata: ArrayLike | None
) -> list[_Stratum]:
    unit = (
        np.arange(values.size)
        if clusters is None
        else label_codes("clusters", clusters, values.size)
    )
    group = np.zeros_like(unit) if strata is None else label_codes("strata", strata, values.size)
    group_of_unit = np.zeros(int(unit.max()) + 1, dtype=np.intp)
    group_of_unit[unit] = group
    if np.any(group_of_unit[unit] != group):
        raise ValueError("clusters: one is in two strata: expected each in one stratum")
    if np.bincount(group_of_unit).min() < 2:
        name = "problems" if clusters is None else "clusters"
        raise ValueError(f"{name}: 1 in a stratum: expected at least 2 to estimate a variance")
    units = np.stack([cluster_sums(values, unit), np.bincount(unit)])
    parts = []
    for code in range(int(group.max()) + 1):
        inside = units[:, group_of_unit == code]
        parts.append(_Stratum(inside[1].sum() / values.size, *_kinds(inside)))
    return parts


def _kinds(units: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    # The same as np.unique(units, axis=1), but with one number per unit, which sorts ten
    # times as fast.
    sums, sizes = units
    base = sizes.max() + 1
    codes, counts = np.unique(sums * base + sizes, return_counts=True)
    return np.stack([codes // base, codes % base]), counts


def _moments(parts: list[_Stratum]) -> tuple[float, float]:
    mean = variance = 0.0
    for part in parts:
        part_mean, part_variance = _mean_and_variance(part, part.counts[None])
        mean += part.weight * part_mean.item()
        variance += part.weight**2 * part_variance.item()
    return mean, sqrt(variance)


def _symmetric(
    parts: list[_Stratum], draws: int, level: float, rng: np.random.Generator
) -> tuple[float, float]:
    check_open_unit("level", level)
    if draws < 1:
        raise ValueError(f"draws: {draws}: expected at least 1")
    mean, error = _moments(parts)
    distances = np.sort(_distances(parts, mean, draws, rng))
    half = error * distances[min(draws, ceil(level * (draws + 1))) - 1] if error else 0.0
    return float(mean - half), float(mean + half)


def _distances(
    parts: list[_Stratum], observed: float, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    means, variances = np.zeros(draws), np.zeros(draws)
    for part in parts:
        # Drawing how often each kind of unit occurs has the same distribution as drawing
        # units, and is cheap: single problems are of three kinds at most.
        units, rows = int(part.counts.sum()), max(1, MAX_CELLS // part.counts.size)
        for start in range(0, draws, rows):
            chunk = slice(start, min(start + rows, draws))
            drawn = rng.multinomial(units, part.counts / units, size=chunk.stop - start)
            mean, variance = _mean_and_variance(part, drawn)
            means[chunk] += part.weight * mean
            variances[chunk] += part.weight**2 * variance
    distances = np.abs(means - observed)
    distances[distances < ROUNDING] = 0
    errors = np.sqrt(variances)
    # A draw without variance is infinitely far away, unless it hits the observed mean.
    unscaled = np.where(distances > 0, np.inf, 0)
    return np.divide(distances, errors, out=unscaled, where=errors > ROUNDING)


def _mean_and_variance(
    part: _Stratum, drawn: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and squared standard error (B,) of B samples.

    A row of ``drawn`` (B, K) says how many units of each kind a sample holds.
    """
    sums, sizes = part.kinds
    problems, units = drawn @ sizes, part.counts.sum()
    means = drawn @ sums / problems
    residuals = sums - means[:, None] * sizes
    squares = np.einsum("bk,bk->b", drawn, residuals**2)
    return means, units / (units - 1) * squares / problems**2


def cluster_sums(values: NDArray[np.int64], codes: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the sum of ``values`` (n,) for each label code."""
    return np.bincount(codes, values).astype(np.int64)


def paired_differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    """Return first − second (n,), of −1, 0 and 1; ValueError as ``paired_interval``."""
    x, y = _binary("first", first), _binary("second", second)
    if x.size != y.size:
        raise ValueError(f"second: length {y.size}: expected that of first, {x.size}")
    return x.astype(np.int64) - y.astype(np.int64)


def _as_list(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape}: expected a list of at least one value")
    return array


def _binary(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    array = _as_list(name, values)
    wrong = array[(array != 0) & (array != 1)]
    if wrong.size:
        raise ValueError(f"{name}: {wrong[0]!r}: expected 0 or 1")
    return array == 1


def label_codes(name: str, labels: ArrayLike, n: int) -> NDArray[np.intp]:
    """Return labels (n,) as numbers from 0, in sorted order; ValueError for another length."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name}: shape {array.shape}: expected one label per problem, ({n},)")
    # The same codes as np.unique's inverse, which would sort all labels, not the unique ones.
    return pd.factorize(array, sort=True, use_na_sentinel=False)[0]


def check_open_unit(name: str, value: float) -> None:
    """Raise ValueError naming ``name`` unless 0 < value < 1."""
    if not 0 < value < 1:
        raise ValueError(f"{name}: {value}: expected between 0 and 1, both excluded")
