"""Difficulty of problems for the base model: the posterior of the pass rate, and a level.

A pass rate from a few samples is noisy and saturates at 0 and 1. Each source of problems therefore
gets a Beta prior, fitted to all its counts, and each problem the posterior under that prior.
"""

from collections import Counter
from collections.abc import Sequence
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, betabinom

from stages.lib.core.schema import Difficulty, Prompting
from stages.lib.params.sampling import LevelDefinition

LEAST_CONCENTRATION = 0.1


def estimate_difficulties(
    sources: Sequence[str],
    problem_ids: Sequence[str],
    n_correct: Sequence[int],
    n: Sequence[int],
    *,
    prompting: Prompting,
    levels: int,
    definition: LevelDefinition,
    interval: float,
) -> list[Difficulty]:
    """Return the difficulty of each problem with one prompting, in the given order.

    Entry i of the four sequences describes one problem: ``n_correct[i]`` of its ``n[i]`` samples
    are correct. ``levels`` and ``definition`` are those of ``level_of``; ``interval`` is the
    probability inside the equal-tailed posterior interval. Raises ValueError for empty sequences or
    unequal lengths, a duplicate problem, counts outside 0..n, n below 1, fewer than one level, an
    unknown definition, and an interval outside (0, 1).
    """
    _check_problems(sources, problem_ids, n_correct, n)
    if not 0 < interval < 1:
        raise ValueError(f"interval: {interval}: expected between 0 and 1, both excluded")
    correct, total = _as_counts(n_correct, n)
    mean, low, high = pass_rates(sources, correct.tolist(), total.tolist(), interval=interval)
    # Few pairs of counts are distinct.
    level = {
        (c, m): level_of(c, m, levels=levels, definition=definition)
        for c, m in set(zip(correct.tolist(), total.tolist(), strict=True))
    }
    return [
        Difficulty(
            problem_id=problem_ids[i],
            prompting=prompting,
            source=sources[i],
            n=int(total[i]),
            n_correct=int(correct[i]),
            pass_rate=int(correct[i]) / int(total[i]),
            posterior_mean=float(mean[i]),
            low=float(low[i]),
            high=float(high[i]),
            level=level[int(correct[i]), int(total[i])],
        )
        for i in range(total.size)
    ]


def pass_rates(
    sources: Sequence[str], n_correct: Sequence[int], n: Sequence[int], *, interval: float
) -> NDArray[np.float64]:
    """Return the posterior mean of each problem's pass rate and its interval, (3, n).

    The prior is that of the problem's source (``fit_prior``). The interval from low to high has the
    probability ``interval``; both tails are equal. Problems may have different numbers of samples,
    and the number may depend on earlier samples (``stages.lib.difficulty.sequential``): likelihood,
    prior and posterior are the same. Raises ValueError for counts outside 0..n and n below 1.
    """
    correct, total = _as_counts(n_correct, n)
    shapes = _posterior_shapes(np.asarray(sources), correct, total)
    # The quantile function is slow, and few posteriors are distinct.
    distinct, index = np.unique(shapes, axis=1, return_inverse=True)
    tails = [[(1 - interval) / 2], [(1 + interval) / 2]]
    bounds = beta.ppf(tails, distinct[0], distinct[1])
    return np.stack([shapes[0] / shapes.sum(axis=0), *bounds[:, index]])


def level_of(n_correct: int, n: int, *, levels: int, definition: LevelDefinition) -> float:
    """Return the level of a problem with pass rate p = n_correct / n; higher is harder.

    With L = ``levels``: ``capped_floor`` is min(floor((1 - p) L), L - 1) + 1, from 1
    to L; ``floor`` is floor((1 - p) L), from 0 to L, and L only for p = 0;
    ``fail_rate`` is 1 - p and ignores L. The floors are exact, by integer division: for
    p = 0.8 and L = 5, (1 - p) L is 1. Raises ValueError for counts outside 0..n, n below
    1, fewer than one level and an unknown definition.
    """
    _as_counts([n_correct], [n])
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
    1 / (2 (T + 1)) and one minus that, s between 0.1 (pass rates only near 0 and 1)
    and T + 1 (one pass rate for all problems, estimated from T samples). A source
    without any correct, or without any wrong, answer gives no information about the
    differences between its problems. It gets (1/2, T + 1/2) or (T + 1/2, 1/2), the
    Jeffreys posterior of one pass rate for all problems.

    One sample per problem determines m but not s, which then stays near 2. Raises
    ValueError for empty sequences or unequal lengths, counts outside 0..n and n below 1.
    """
    correct, total = _as_counts(n_correct, n)
    n_samples, n_successes = int(total.sum()), int(correct.sum())
    if n_successes in (0, n_samples):
        return n_successes + 0.5, n_samples - n_successes + 0.5
    # One term of the likelihood for each distinct pair of counts.
    pairs, counts = np.unique(np.stack([correct, total]), axis=1, return_counts=True)
    floor = 0.5 / (n_samples + 1)

    def loss(point: NDArray[np.float64]) -> float:
        a, b = _shape(point)
        return -float(counts @ betabinom.logpmf(pairs[0], pairs[1], a, b))

    fit = minimize(
        loss,
        x0=[logit(n_successes / n_samples), log(2)],
        bounds=[(logit(floor), -logit(floor)), (log(LEAST_CONCENTRATION), log(n_samples + 1))],
        method="Nelder-Mead",
    )
    return _shape(fit.x)


def _check_problems(
    sources: Sequence[str], problem_ids: Sequence[str], n_correct: Sequence[int], n: Sequence[int]
) -> None:
    lengths = [len(sources), len(problem_ids), len(n_correct), len(n)]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            f"sources, problem_ids, n_correct, n: lengths {lengths}: expected equal, at least 1"
        )
    duplicates = [name for name, count in Counter(problem_ids).items() if count > 1]
    if duplicates:
        raise ValueError(f"problem_ids: {duplicates[0]!r}: given twice, expected once")


def _shape(point: NDArray[np.float64]) -> tuple[float, float]:
    mean, concentration = float(expit(point[0])), exp(float(point[1]))
    return mean * concentration, (1 - mean) * concentration


def _posterior_shapes(
    sources: NDArray[np.str_], correct: NDArray[np.int64], total: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return alpha and beta of each problem's posterior, (2, n)."""
    shapes = np.stack([correct, total - correct]).astype(np.float64)
    for source in np.unique(sources):
        mask = sources == source
        prior = fit_prior(correct[mask].tolist(), total[mask].tolist())
        shapes[:, mask] += np.array(prior)[:, None]
    return shapes


def _as_counts(
    n_correct: Sequence[int], n: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    correct, total = np.asarray(n_correct), np.asarray(n)
    if correct.shape != total.shape or correct.ndim != 1 or correct.size == 0:
        raise ValueError(
            f"n_correct, n: shapes {correct.shape}, {total.shape}: expected equal, at least (1,)"
        )
    for name, values in (("n_correct", correct), ("n", total)):
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name}: {values.dtype}: expected integers")
    if total.min() < 1:
        raise ValueError(f"n: {total.min()}: expected at least 1")
    outside = (correct < 0) | (correct > total)
    if outside.any():
        raise ValueError(f"n_correct: {correct[outside][0]}: expected 0 to n={total[outside][0]}")
    return correct.astype(np.int64), total.astype(np.int64)
