"""Standard errors, paired comparisons and the usual scores of sampled answers.

Everything starts from arrays of 0 and 1, one entry per problem: did the model
answer it? Two arguments say how the problems came about, and so what a
repetition of the experiment would draw again:

- ``clusters``: a label per problem. Problems of one cluster (a template with
  other numbers) are correlated, and the clusters stand for more of their kind:
  whole clusters are drawn. ``None``: each problem is drawn by itself.
- ``strata``: a label per problem. The groups are fixed by the design (the rungs
  of a ladder, the subjects of an exam): a repetition has the same groups of the
  same sizes, and draws happen only inside each. ``None``: one group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm
from statsmodels.stats.multitest import multipletests

MAX_CELLS = 1_000_000
ROUNDING = 1e-12
FEW = 10
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Accuracy of the first model minus the second's, its interval, and a two-sided p."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class _Stratum:
    """Interchangeable units of one stratum, counted by kind.

    ``weight`` is its share of the problems; ``kinds`` (2, K) holds the sum of
    values and the number of problems of a unit, ``counts`` (K,) how many units
    are of that kind.
    """

    weight: float
    kinds: NDArray[np.int64]
    counts: NDArray[np.intp]


def standard_error(
    correct: ArrayLike, clusters: ArrayLike | None = None, *, strata: ArrayLike | None = None
) -> float:
    """Return the standard error of the mean of ``correct`` (n,), a share.

    The sandwich estimate by cluster with the factor G / (G - 1) (Liang and
    Zeger 1986; for language models: Miller 2024, "Adding Error Bars to
    Evals"), added up over the strata. Raises ValueError for an empty array,
    values other than 0 and 1, labels of another length, a cluster in two
    strata, and a stratum with one unit only.
    """
    return _moments(_strata(_binary("correct", correct).astype(np.int64), clusters, strata))[1]


def wilson_interval(n_correct: int, n: int, *, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927).

    Raises ValueError unless n >= 1, 0 <= n_correct <= n and 0 < level < 1.
    """
    _open_share("level", level)
    if n < 1:
        raise ValueError(f"n: {n}: expected at least 1")
    if not 0 <= n_correct <= n:
        raise ValueError(f"n_correct: {n_correct}: expected 0 to n={n}")
    interval = binomtest(n_correct, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def compare(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> Comparison:
    """Compare two models' ``first`` and ``second`` (n,) on the same problems.

    The interval is ``paired_interval``; where fewer than ten single problems tell
    the models apart, too few to resample, it is ``sparse_interval``. p is
    ``mcnemar_p``, or ``sign_flip_p`` if there are clusters. Raises ValueError as
    these do.
    """
    differences = _differences(first, second)
    difference = float(np.mean(differences))
    if clusters is None and np.count_nonzero(differences) < FEW:
        low, high = sparse_interval(first, second, level=level)
    else:
        low, high = paired_interval(
            first, second, clusters, strata=strata, draws=draws, level=level, rng=rng
        )
    p = mcnemar_p(first, second) if clusters is None else sign_flip_p(first, second, clusters)
    return Comparison(difference=difference, low=low, high=high, p=p)


def paired_interval(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return a bootstrap interval of mean(first) - mean(second), both (n,).

    The symmetric studentised bootstrap (Hall 1988, "On symmetric bootstrap
    confidence intervals"): units are drawn with replacement inside their
    stratum, ``draws`` times, and the interval reaches as many standard errors
    to each side as a share ``level`` of the draws lies from the observed
    difference, in standard errors of their own.

    Measured on 5,000 simulated data sets a case, nominal 95%: with 14 clusters
    it covers the truth in 96 to 97 of 100, where the plain percentile interval
    covers 91 to 92 and comes within 1.5 points of 95 only from 30 clusters
    (equal sizes) to 100 (unequal sizes) on. With 5 clusters it is wide (97 to 99 of
    100). Where a fifth of the clusters carries the whole difference, 8 to 14
    clusters show it too rarely: 93 to 94 of 100, and 95 from 20 on.

    Models without a single discordant pair give the interval (0, 0): nothing
    was seen, which is not to say that nothing is there.

    Raises ValueError for empty arrays, different lengths, values other than 0
    and 1, fewer than one draw, a level outside (0, 1), a cluster in two
    strata, and a stratum with one unit only.
    """
    _open_share("level", level)
    if draws < 1:
        raise ValueError(f"draws: {draws}: expected at least 1")
    parts = _strata(_differences(first, second), clusters, strata)
    low, high = _symmetric(parts, draws, level, rng)
    return max(-1.0, low), min(1.0, high)


def mean_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return a bootstrap interval of the mean of ``values`` (n,), whole numbers of any size.

    The bootstrap is that of ``paired_interval``. Raises ValueError for an empty array, values
    that are not whole, fewer than one draw, a level outside (0, 1), a cluster in two strata,
    and a stratum with one unit only.
    """
    _open_share("level", level)
    if draws < 1:
        raise ValueError(f"draws: {draws}: expected at least 1")
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values: shape {array.shape}: expected a list of at least one value")
    whole = array.astype(np.int64)
    if np.any(whole != array):
        raise ValueError(f"values: {array[whole != array][0]}: expected whole numbers")
    return _symmetric(_strata(whole, clusters, strata), draws, level, rng)


def sparse_interval(first: ArrayLike, second: ArrayLike, *, level: float) -> tuple[float, float]:
    """Return an interval of mean(first) - mean(second), both (n,), for few discordant pairs.

    Wald's interval after half a problem is added to each of the four cells
    (Agresti and Min 2005, "Simple improved confidence intervals for comparing
    matched proportions"). Strata are left out, which makes it a little wider.
    Raises ValueError for empty arrays, different lengths, values other than 0
    and 1, and a level outside (0, 1).
    """
    _open_share("level", level)
    differences = _differences(first, second)
    n = differences.size + 2
    discordant, net = np.count_nonzero(differences) + 1, int(differences.sum())
    half = norm.ppf((1 + level) / 2) * sqrt(discordant - net**2 / n) / n
    return float(max(-1, net / n - half)), float(min(1, net / n + half))


def mcnemar_p(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p of McNemar's exact test for ``first``, ``second`` (n,).

    1 if the models differ nowhere. Raises ValueError for empty arrays,
    different lengths and values other than 0 and 1.
    """
    values = _differences(first, second)
    discordant = int(np.count_nonzero(values))
    if discordant == 0:
        return 1.0
    return float(binomtest(int(np.sum(values > 0)), discordant).pvalue)


def sign_flip_p(first: ArrayLike, second: ArrayLike, clusters: ArrayLike) -> float:
    """Return the exact two-sided p of the sign-flip test over clusters.

    If two models are equal, swapping them within a cluster changes nothing:
    each cluster's difference has either sign with probability 1/2. The sum's
    distribution under all 2^G swaps is computed exactly. With one problem per
    cluster this is McNemar's exact test. With G clusters p is at least
    2^(1 - G). Raises ValueError as ``mcnemar_p``, and for labels of another
    length.
    """
    values = _differences(first, second)
    sums = _sums(values, _codes("clusters", clusters, values.size))
    total = int(np.abs(sums).sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for size in np.abs(sums[sums != 0]):
        moved = chances[:-size] / 2
        chances /= 2
        chances[size:] += moved
    swapped = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(chances[swapped >= abs(int(sums.sum()))].sum()))


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
    """Return the smallest true difference that McNemar's test on n pairs finds.

    ``discordance`` is the share of problems that exactly one model solves. With
    z = z(1 - alpha / 2) and y = z(power), the difference d solves
    sqrt(n) d = z sqrt(discordance) + y sqrt(discordance - d^2)
    (Connor 1987, "Sample size for testing differences in proportions for the
    paired-sample design"). The exact test is a little weaker: its power at d is
    0.76 to 0.79 where 0.8 was asked. None if not even d = discordance, every discordant
    pair favouring one model, would be found. Raises ValueError for n < 1, a
    discordance outside [0, 1], and power or alpha outside (0, 1).
    """
    _open_share("power", power)
    _open_share("alpha", alpha)
    if n < 1:
        raise ValueError(f"n: {n}: expected at least 1")
    if not 0 <= discordance <= 1:
        raise ValueError(f"discordance: {discordance}: expected 0 to 1")
    z, y = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    spread = n + y**2 - z**2
    if spread < 0 or discordance == 0:
        return None
    found = (z * sqrt(n * discordance) + y * sqrt(discordance * spread)) / (n + y**2)
    return found if found <= discordance else None


def _strata(
    values: NDArray[np.int64], clusters: ArrayLike | None, strata: ArrayLike | None
) -> list[_Stratum]:
    unit = np.arange(values.size) if clusters is None else _codes("clusters", clusters, values.size)
    group = np.zeros_like(unit) if strata is None else _codes("strata", strata, values.size)
    group_of_unit = np.zeros(int(unit.max()) + 1, dtype=np.intp)
    group_of_unit[unit] = group
    if np.any(group_of_unit[unit] != group):
        raise ValueError("clusters: one lies in two strata: expected each in one stratum")
    if np.bincount(group_of_unit).min() < 2:
        held = "problems" if clusters is None else "clusters"
        raise ValueError(f"{held}: 1 in a stratum: expected at least 2, to see any spread")
    units = np.stack([_sums(values, unit), np.bincount(unit)])
    parts = []
    for code in range(int(group.max()) + 1):
        inside = units[:, group_of_unit == code]
        parts.append(_Stratum(inside[1].sum() / values.size, *_kinds(inside)))
    return parts


def _kinds(units: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    # As np.unique(units, axis=1), on one number per unit, which sorts ten times as fast.
    sums, sizes = units
    most = sizes.max() + 1
    found, counts = np.unique(sums * most + sizes, return_counts=True)
    return np.stack([found // most, found % most]), counts


def _moments(parts: list[_Stratum]) -> tuple[float, float]:
    means, variances = zip(*(_of_counts(part, part.counts[None]) for part in parts), strict=True)
    weights = [part.weight for part in parts]
    mean = sum(w * m.item() for w, m in zip(weights, means, strict=True))
    variance = sum(w**2 * v.item() for w, v in zip(weights, variances, strict=True))
    return mean, sqrt(variance)


def _symmetric(
    parts: list[_Stratum], draws: int, level: float, rng: np.random.Generator
) -> tuple[float, float]:
    mean, error = _moments(parts)
    distances = np.sort(_distances(parts, mean, draws, rng))
    half = error * distances[min(draws, ceil(level * (draws + 1))) - 1] if error else 0.0
    return float(mean - half), float(mean + half)


def _distances(
    parts: list[_Stratum], observed: float, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    means, variances = np.zeros(draws), np.zeros(draws)
    for part in parts:
        # Drawing how often each kind of unit occurs has the distribution of
        # drawing units, and three kinds do for any number of single problems.
        units, rows = int(part.counts.sum()), max(1, MAX_CELLS // part.counts.size)
        for start in range(0, draws, rows):
            some = slice(start, min(start + rows, draws))
            drawn = rng.multinomial(units, part.counts / units, size=some.stop - start)
            mean, variance = _of_counts(part, drawn)
            means[some] += part.weight * mean
            variances[some] += part.weight**2 * variance
    away = np.abs(means - observed)
    away[away < ROUNDING] = 0
    errors = np.sqrt(variances)
    return np.divide(away, errors, out=np.where(away > 0, np.inf, 0), where=errors > ROUNDING)


def _of_counts(
    part: _Stratum, drawn: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Mean and squared standard error (B,) of B samples; each row of drawn (B, K)
    # says how many units of each kind one holds.
    sums, sizes = part.kinds
    problems, units = drawn @ sizes, part.counts.sum()
    means = drawn @ sums / problems
    residuals = sums - means[:, None] * sizes
    squares = np.einsum("bk,bk->b", drawn, residuals**2)
    return means, units / (units - 1) * squares / problems**2


def _sums(values: NDArray[np.int64], codes: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.bincount(codes, values).astype(np.int64)


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    left, right = _binary("first", first), _binary("second", second)
    if left.size != right.size:
        raise ValueError(f"second: length {right.size}: expected that of first, {left.size}")
    return left.astype(np.int64) - right.astype(np.int64)


def _binary(name: str, values: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape}: expected a list of at least one value")
    wrong = array[(array != 0) & (array != 1)]
    if wrong.size:
        raise ValueError(f"{name}: {wrong[0]!r}: expected 0 or 1")
    return array == 1


def _codes(name: str, labels: ArrayLike, n: int) -> NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name}: shape {array.shape}: expected one label per problem, ({n},)")
    # As the inverse of np.unique, which would sort the labels and not the different ones.
    return pd.factorize(array, sort=True)[0]


def _open_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name}: {value}: expected between 0 and 1, both excluded")
