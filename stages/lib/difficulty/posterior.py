"""How hard a problem is for the base model, from how often it got it right.

A pass rate from a few samples is noisy and saturates at 0 and 1. Each source
of problems therefore gets a Beta prior, fitted to all its counts, and each
problem the posterior under it.
"""

from collections import Counter
from collections.abc import Sequence
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, betabinom

from stages.lib.core.schema import Difficulty

Definition = Literal["capped_floor", "floor", "fail_rate"]

LEAST_CONCENTRATION = 0.1


def measure(
    sources: Sequence[str],
    problem_ids: Sequence[str],
    n_correct: Sequence[int],
    n: Sequence[int],
    *,
    levels: int,
    definition: Definition,
    interval: float,
) -> list[Difficulty]:
    """Return the difficulty of each problem, in the given order.

    Entry i of the four sequences describes one problem: ``n_correct[i]`` of its
    ``n[i]`` samples are right. ``levels`` and ``definition`` are those of
    ``level_of``; ``interval`` is the probability inside the equal-tailed
    posterior interval. Raises ValueError for sequences of different lengths,
    none at all, a problem given twice, counts outside 0..n, n below 1, fewer
    than one level, an unknown definition, and an interval outside (0, 1).
    """
    lengths = [len(sources), len(problem_ids), len(n_correct), len(n)]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            f"sources, problem_ids, n_correct, n: lengths {lengths}: expected equal, at least 1"
        )
    twice = [name for name, count in Counter(problem_ids).items() if count > 1]
    if twice:
        raise ValueError(f"problem_ids: {twice[0]!r}: given twice, expected once")
    if not 0 < interval < 1:
        raise ValueError(f"interval: {interval}: expected between 0 and 1, both excluded")
    right, total = _counts(n_correct, n)
    mean, low, high = pass_rates(sources, right.tolist(), total.tolist(), interval=interval)
    level = {
        (c, m): level_of(c, m, levels=levels, definition=definition)
        for c, m in set(zip(right.tolist(), total.tolist(), strict=True))
    }
    return [
        Difficulty(
            problem_id=problem_ids[i],
            source=sources[i],
            n=int(total[i]),
            n_correct=int(right[i]),
            pass_rate=int(right[i]) / int(total[i]),
            posterior_mean=float(mean[i]),
            low=float(low[i]),
            high=float(high[i]),
            level=level[int(right[i]), int(total[i])],
        )
        for i in range(total.size)
    ]


def pass_rates(
    sources: Sequence[str], n_correct: Sequence[int], n: Sequence[int], *, interval: float
) -> NDArray[np.float64]:
    """Return posterior mean, low and high of each problem's pass rate, (3, n).

    The prior is that of the problem's source (``fit_prior``); low and high hold the
    probability ``interval`` between them and equal rests outside. Problems may have
    different numbers of samples, and a number may depend on the samples before
    (``stages.lib.difficulty.sequential``): likelihood, prior and posterior are the same.
    Raises ValueError for counts outside 0..n and n below 1.
    """
    right, total = _counts(n_correct, n)
    shapes = _posteriors(np.asarray(sources), right, total)
    kinds, kind = np.unique(shapes, axis=1, return_inverse=True)
    bounds = beta.ppf([[(1 - interval) / 2], [(1 + interval) / 2]], kinds[0], kinds[1])
    return np.stack([shapes[0] / shapes.sum(axis=0), *bounds[:, kind]])


def level_of(n_correct: int, n: int, *, levels: int, definition: Definition) -> float:
    """Return the level of a problem with pass rate p = n_correct / n, higher is harder.

    With L = ``levels``: ``capped_floor`` is min(floor((1 - p) L), L - 1) + 1, from 1
    to L; ``floor`` is floor((1 - p) L), from 0 to L, and L only for p = 0;
    ``fail_rate`` is 1 - p and ignores L. The floors are taken of whole-number
    quotients, so p = 0.8 with L = 5 is exactly one level down. Raises
    ValueError for counts outside 0..n, n below 1, fewer than one level and an
    unknown definition.
    """
    _counts([n_correct], [n])
    if levels < 1:
        raise ValueError(f"levels: {levels}: expected at least 1")
    steps = (n - n_correct) * levels // n
    match definition:
        case "capped_floor":
            return float(min(steps, levels - 1) + 1)
        case "floor":
            return float(steps)
        case "fail_rate":
            return (n - n_correct) / n
    raise ValueError(f"definition: {definition!r}: expected capped_floor, floor or fail_rate")


def fit_prior(n_correct: Sequence[int], n: Sequence[int]) -> tuple[float, float]:
    """Return (alpha, beta) of the Beta prior of one source's pass rates.

    Maximum likelihood of the beta-binomial over mean m = alpha / (alpha + beta)
    and concentration s = alpha + beta. With T samples in all, m lies between
    1 / (2 (T + 1)) and one minus that, s between 0.1 (pass rates near 0 and 1
    only) and T + 1 (one shared pass rate, known as well as T samples tell). A
    source without a single right answer, or a single wrong one, cannot tell how
    its problems differ; it gets (1/2, T + 1/2) or (T + 1/2, 1/2), the Jeffreys
    posterior of one shared pass rate.

    One sample per problem tells m and not s, which then stays near 2. Raises
    ValueError for sequences of different lengths, none at all, counts outside
    0..n and n below 1.
    """
    right, total = _counts(n_correct, n)
    samples, successes = int(total.sum()), int(right.sum())
    if successes in (0, samples):
        return successes + 0.5, samples - successes + 0.5
    kinds, counts = np.unique(np.stack([right, total]), axis=1, return_counts=True)
    floor = 0.5 / (samples + 1)

    def loss(point: NDArray[np.float64]) -> float:
        a, b = _shape(point)
        return -float(counts @ betabinom.logpmf(kinds[0], kinds[1], a, b))

    found = minimize(
        loss,
        x0=[logit(successes / samples), log(2)],
        bounds=[(logit(floor), -logit(floor)), (log(LEAST_CONCENTRATION), log(samples + 1))],
        method="Nelder-Mead",
    )
    return _shape(found.x)


def _shape(point: NDArray[np.float64]) -> tuple[float, float]:
    mean, concentration = float(expit(point[0])), exp(float(point[1]))
    return mean * concentration, (1 - mean) * concentration


def _posteriors(
    sources: NDArray[np.str_], right: NDArray[np.int64], total: NDArray[np.int64]
) -> NDArray[np.float64]:
    shapes = np.stack([right, total - right]).astype(np.float64)
    for source in np.unique(sources):
        inside = sources == source
        prior = fit_prior(right[inside].tolist(), total[inside].tolist())
        shapes[:, inside] += np.array(prior)[:, None]
    return shapes


def _counts(
    n_correct: Sequence[int], n: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    right, total = np.asarray(n_correct), np.asarray(n)
    if right.shape != total.shape or right.ndim != 1 or right.size == 0:
        raise ValueError(
            f"n_correct, n: shapes {right.shape}, {total.shape}: expected equal, at least (1,)"
        )
    for name, values in (("n_correct", right), ("n", total)):
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name}: {values.dtype}: expected whole numbers")
    if total.min() < 1:
        raise ValueError(f"n: {total.min()}: expected at least 1")
    outside = (right < 0) | (right > total)
    if outside.any():
        raise ValueError(f"n_correct: {right[outside][0]}: expected 0 to n={total[outside][0]}")
    return right.astype(np.int64), total.astype(np.int64)
