"""Several runs of an arm: by hand, and how often intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from stages.lib.analysis.intervals import sparse_interval
from stages.lib.analysis.seeds import compare_runs

STRATA = np.repeat(np.arange(7), 20)


def test_a_difference_by_hand() -> None:
    first = [[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    second = [[0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]
    result = compare_runs(first, second, [0] * 4, level=0.95)
    assert result.difference == pytest.approx(1 / 3)
    # Differences of the runs are 1/4, 1/4, 1/2; by problem 2/3, 1/3, 1/3, 0.
    over_runs = (2 * (1 / 12) ** 2 + (1 / 6) ** 2) / 2 / 3
    over_problems = (2 * (1 / 3) ** 2) / 3 / 4
    residuals = [[1 / 3, -1 / 3, -1 / 3, 0], [1 / 3, -1 / 3, -1 / 3, 0], [-2 / 3, 2 / 3, 2 / 3, 0]]
    over_answers = sum(float(np.var(run, ddof=1)) / 4 for run in residuals) / 3 / 2
    variance = max(over_runs + over_problems - over_answers, over_problems)
    assert variance == over_problems
    assert result.high - result.low > 2 * 1.96 * np.sqrt(variance)
    freedom = max(2, variance**2 / (over_runs**2 / 2 + over_problems**2 / 3))
    half = float(student.ppf(0.975, freedom)) * np.sqrt(variance)
    assert (result.low, result.high) == pytest.approx((1 / 3 - half, 1 / 3 + half))
    assert result.low < 0 < result.p


def test_where_nothing_varies_runs_are_as_one() -> None:
    same = np.ones((3, 4))
    assert compare_runs(same, same, [0] * 4, level=0.95).p == 1
    clear = compare_runs(same, np.zeros((3, 4)), [0] * 4, level=0.95)
    low, high = sparse_interval(same[0], np.zeros(4), level=0.95)
    assert (clear.difference, clear.low, clear.high) == (1, low, high)
    assert clear.p == 2 * 0.5**4


@pytest.mark.parametrize(
    ("first", "strata", "message"),
    [
        (np.ones((2, 4)), [0] * 4, "runs: 2: expected at least 3"),
        (np.ones((3, 4)), [0, 0, 0, 1], "problems: 1 in a stratum"),
        (np.ones((3, 4)), [0] * 3, "expected "),
        (np.ones(4), [0] * 4, "expected "),
    ],
)
def test_what_cannot_be_compared_is_said(
    first: np.ndarray, strata: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_runs(first, np.zeros_like(first), strata, level=0.95)


def coverage(run_sd: float, runs: int = 3, strata: np.ndarray = STRATA) -> float:
    """Return how often 95% intervals hold the truth with ``run_sd`` between runs, in probits."""
    rng, n_sets = np.random.default_rng(1), 200
    stratum_ease = rng.normal(0, 1.5, strata.max() + 1)
    shift, std = 0.3, np.sqrt(1 + run_sd**2 + 1)
    truth = np.mean(norm.cdf((stratum_ease + shift) / std) - norm.cdf(stratum_ease / std))
    n_covered = 0
    for _ in range(n_sets):
        ease = stratum_ease[strata] + rng.normal(0, 1, len(strata))
        first, second = (
            ease + skill + rng.normal(0, run_sd, (runs, 1)) + rng.normal(0, 1, (runs, len(strata)))
            > 0
            for skill in (shift, 0.0)
        )
        result = compare_runs(first, second, strata, level=0.95)
        n_covered += bool(result.low <= truth <= result.high)
    return n_covered / n_sets


@pytest.mark.parametrize("run_sd", [0.0, 0.4])
def test_intervals_hold_the_truth(run_sd: float) -> None:
    assert coverage(run_sd) >= 0.9


@pytest.mark.parametrize("run_sd", [0.0, 0.2])
@pytest.mark.parametrize("n_strata", [10, 12])
def test_intervals_hold_the_truth_at_the_sizes_of_the_study(run_sd: float, n_strata: int) -> None:
    # Three standard errors of 200 data sets are 0.046.
    strata = np.repeat(np.arange(n_strata), 60)
    assert coverage(run_sd, runs=10, strata=strata) >= 0.904
