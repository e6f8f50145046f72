"""Several runs of an arm: by hand, and how often intervals hold the truth."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from stages.lib.analysis.accuracy import run_table
from stages.lib.analysis.intervals import sparse_interval
from stages.lib.analysis.paired import Comparison, compare
from stages.lib.analysis.seeds import compare_runs

STRATA = np.repeat(np.arange(7), 20)


def test_a_difference_by_hand() -> None:
    first = [[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    second = [[0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]
    found = compare_runs(first, second, [0] * 4, level=0.95)
    assert found.difference == pytest.approx(1 / 3)
    # Differences of the runs are 1/4, 1/4, 1/2; by problem 2/3, 1/3, 1/3, 0.
    of_runs = (2 * (1 / 12) ** 2 + (1 / 6) ** 2) / 2 / 3
    of_problems = (2 * (1 / 3) ** 2) / 3 / 4
    left = [[1 / 3, -1 / 3, -1 / 3, 0], [1 / 3, -1 / 3, -1 / 3, 0], [-2 / 3, 2 / 3, 2 / 3, 0]]
    of_answers = sum(float(np.var(one, ddof=1)) / 4 for one in left) / 3 / 2
    variance = max(of_runs + of_problems - of_answers, of_problems)
    assert variance == of_problems
    assert found.high - found.low > 2 * 1.96 * np.sqrt(variance)
    freedom = max(2, variance**2 / (of_runs**2 / 2 + of_problems**2 / 3))
    half = float(student.ppf(0.975, freedom)) * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((1 / 3 - half, 1 / 3 + half))
    assert found.low < 0 < found.p


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


Interval = Callable[[np.ndarray, np.ndarray], Comparison]


def by_runs(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    return compare_runs(ours, theirs, STRATA, level=0.95)


def by_problems(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    rng = np.random.default_rng(1)
    return compare(ours[0], theirs[0], strata=STRATA, draws=200, level=0.95, rng=rng)


def coverage(run_sd: float, sets: int, runs: int = 3, interval: Interval = by_runs) -> float:
    """Return how often 95% intervals hold the truth if accuracies of runs spread so (probits)."""
    rng = np.random.default_rng(1)
    of_stratum = rng.normal(0, 1.5, STRATA.max() + 1)
    shift, spread = 0.3, np.sqrt(1 + run_sd**2 + 1)
    truth = float(np.mean(norm.cdf((of_stratum + shift) / spread) - norm.cdf(of_stratum / spread)))
    held = 0
    for _ in range(sets):
        ease = of_stratum[STRATA] + rng.normal(0, 1, len(STRATA))

        def answers(better: float, ease: np.ndarray = ease) -> np.ndarray:
            of_runs = rng.normal(0, run_sd, (runs, 1))
            return ease + better + of_runs + rng.normal(0, 1, (runs, len(STRATA))) > 0

        found = interval(answers(shift), answers(0.0))
        held += found.low <= truth <= found.high
    return float(held / sets)


@pytest.mark.parametrize("run_sd", [0.0, 0.4])
def test_intervals_hold_the_truth(run_sd: float) -> None:
    assert coverage(run_sd, sets=200) >= 0.9


def test_intervals_over_the_problems_of_one_run_do_not_where_runs_differ() -> None:
    assert coverage(0.0, 200, interval=by_problems) >= 0.9
    assert coverage(0.4, 200, interval=by_problems) < 0.6


def test_the_table_takes_runs_in_their_order_and_problems_of_a_source_together() -> None:
    rows = [
        {
            "benchmark": "b",
            "system": f"{arm}{run}",
            "problem_id": f"p{problem}",
            "source": f"s{problem % 2}",
            "cot": arm == "x" and problem < 4 + run,
            "pot": problem < 4,
            "fallback": problem < 4,
        }
        for arm in "xy"
        for run in (1, 2, 3)
        for problem in range(12)
    ]
    runs = {arm: [f"{arm}{run}" for run in (1, 2, 3)] for arm in "xy"}
    table = run_table(pd.DataFrame(rows), [["x", "y"]], runs, level=0.95)
    cot, pot = table.to_dict("records")[:2]
    assert (cot["runs"], cot["n"], cot["difference"]) == (3, 12, 0.5)
    # 5, 6 and 7 of 12 against none.
    assert cot["spread"] == pytest.approx(1 / 12, abs=1e-4)
    ours = np.array([[problem < 4 + run for problem in range(12)] for run in (1, 2, 3)])
    by_hand = compare_runs(ours, np.zeros((3, 12)), [0, 1] * 6, level=0.95)
    assert (cot["low"], cot["high"]) == (round(by_hand.low, 4), round(by_hand.high, 4))
    assert (pot["difference"], pot["p_holm"]) == (0, 1)
