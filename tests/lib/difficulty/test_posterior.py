"""Levels are exact, priors maximize the likelihood, intervals are calibrated."""

from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, betabinom

from stages.lib.difficulty.posterior import estimate_difficulties, fit_prior, level_of, pass_rates
from stages.lib.params.sampling import LevelDefinition

SETTINGS: dict[str, Any] = {
    "prompting": "cot",
    "levels": 5,
    "definition": "capped_floor",
    "interval": 0.9,
}


@pytest.mark.parametrize(
    ("n_correct", "n", "levels", "capped_floor", "floor_level", "fail_rate"),
    [
        (4, 4, 5, 1, 0, 0),
        (3, 4, 5, 2, 1, 0.25),
        (2, 4, 5, 3, 2, 0.5),
        (1, 4, 5, 4, 3, 0.75),
        (0, 4, 5, 5, 5, 1),
        (4, 5, 5, 2, 1, 0.2),
        (0, 1, 1, 1, 1, 1),
        (7, 10, 10, 4, 3, 0.3),
    ],
)
def test_three_definitions_of_a_level(
    n_correct: int, n: int, levels: int, capped_floor: int, floor_level: int, fail_rate: float
) -> None:
    expected: dict[LevelDefinition, float] = {
        "capped_floor": capped_floor,
        "floor": floor_level,
        "fail_rate": fail_rate,
    }
    for definition, level in expected.items():
        assert level_of(n_correct, n, levels=levels, definition=definition) == level


def test_levels_are_exact_where_floats_are_not() -> None:
    assert floor((1 - 4 / 5) * 5) == 0
    for n in range(1, 41):
        for n_correct in range(n + 1):
            for levels in (1, 3, 5, 7, 10):
                exact = floor((1 - Fraction(n_correct, n)) * levels)
                assert level_of(n_correct, n, levels=levels, definition="floor") == exact


def log_likelihood(n_correct: list[int], n: list[int], prior: tuple[float, float]) -> float:
    return float(betabinom.logpmf(n_correct, n, *prior).sum())


@pytest.mark.parametrize(("alpha", "beta_"), [(0.5, 2.0), (2.0, 2.0), (0.2, 0.3)])
def test_the_prior_of_simulated_pass_rates_is_found(alpha: float, beta_: float) -> None:
    rng = np.random.default_rng(5)
    n = rng.integers(2, 9, 4000)
    n_correct = rng.binomial(n, rng.beta(alpha, beta_, 4000)).tolist()
    prior = fit_prior(n_correct, n.tolist())
    assert prior == pytest.approx((alpha, beta_), rel=0.12)
    best = log_likelihood(n_correct, n.tolist(), prior)
    for a, b in [(1.03, 1), (0.97, 1), (1, 1.03), (1, 0.97), (1.03, 1.03), (0.97, 0.97)]:
        nearby = (prior[0] * a, prior[1] * b)
        assert log_likelihood(n_correct, n.tolist(), nearby) < best


@pytest.mark.parametrize(
    ("n_correct", "n", "prior"),
    [([0, 0], [4, 4], (0.5, 8.5)), ([4, 3], [4, 3], (7.5, 0.5)), ([0], [1], (0.5, 1.5))],
)
def test_a_source_all_wrong_or_all_right_gets_the_jeffreys_posterior(
    n_correct: list[int], n: list[int], prior: tuple[float, float]
) -> None:
    assert fit_prior(n_correct, n) == prior


def test_the_bounds_of_the_concentration() -> None:
    agreeing, opposed = [2] * 100, [0] * 50 + [4] * 50
    n = [4] * 100
    assert fit_prior(agreeing, n) == pytest.approx((200.5, 200.5), rel=1e-3)
    assert fit_prior(opposed, n) == pytest.approx((0.05, 0.05), rel=1e-3)


def test_measure_gives_the_posterior_by_hand() -> None:
    rows = estimate_difficulties(
        ["sums", "products", "sums"],
        ["a", "b", "c"],
        [0, 3, 0],
        [4, 3, 4],
        **SETTINGS,
    )
    low, high = beta.ppf([0.05, 0.95], 0.5, 12.5)
    assert rows[0].posterior_mean == pytest.approx(0.5 / 13)
    assert (rows[0].low, rows[0].high) == pytest.approx((low, high))
    assert [row.problem_id for row in rows] == ["a", "b", "c"]
    assert [row.level for row in rows] == [5, 1, 5]
    assert [row.pass_rate for row in rows] == [0, 1, 0]
    assert rows[1].posterior_mean == pytest.approx(6.5 / 7)
    assert rows[1].low < 6.5 / 7 < rows[1].high


def test_the_prior_pulls_a_problem_towards_its_own_source() -> None:
    sources = ["easy"] * 40 + ["hard"] * 40
    n_correct = [4, 4, 3, 4] * 10 + [0, 1, 0, 0] * 10
    ids = [str(number) for number in range(80)]
    rows = estimate_difficulties(
        sources,
        ids,
        n_correct,
        [4] * 80,
        **SETTINGS,
    )
    by_count = {(row.source, row.n_correct): row.posterior_mean for row in rows}
    assert 0.75 < by_count["easy", 3] < by_count["easy", 4] < 1
    assert 0 < by_count["hard", 0] < by_count["hard", 1] < 0.25


@pytest.mark.parametrize(("alpha", "beta_"), [(0.5, 2.0), (3.0, 1.0)])
def test_the_interval_holds_the_true_pass_rate_as_often_as_it_says(
    alpha: float, beta_: float
) -> None:
    # Fitted to one source, the prior's own error moves its coverage by about a
    # point (sd at 1,000 problems); the mean over 20 sources moves by 0.3.
    rng = np.random.default_rng(8)
    rates = rng.beta(alpha, beta_, 20_000)
    rows = estimate_difficulties(
        [f"source {number % 20}" for number in range(20_000)],
        [str(number) for number in range(20_000)],
        rng.binomial(4, rates).tolist(),
        [4] * 20_000,
        **SETTINGS,
    )
    covered = [row.low <= rate <= row.high for row, rate in zip(rows, rates, strict=True)]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)


VALID = SETTINGS | {
    "sources": ["s", "s"],
    "problem_ids": ["a", "b"],
    "n_correct": [1, 2],
    "n": [4, 4],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": [4]}, r"lengths \[2, 2, 2, 1\]: expected equal"),
        (
            {"sources": [], "problem_ids": [], "n_correct": [], "n": []},
            "expected equal, at least 1",
        ),
        ({"problem_ids": ["a", "a"]}, "problem_ids: 'a': given twice"),
        ({"n_correct": [1, 5]}, "n_correct: 5: expected 0 to n=4"),
        ({"n_correct": [-1, 2]}, "n_correct: -1: expected 0 to n=4"),
        ({"n_correct": [0, 0], "n": [0, 4]}, "n: 0: expected at least 1"),
        ({"n_correct": [0.5, 1]}, "n_correct: float64: expected integers"),
        ({"levels": 0}, "levels: 0: expected at least 1"),
        ({"definition": "easy"}, "definition: 'easy': expected capped_floor, floor or fail_rate"),
        ({"interval": 90}, "interval: 90: expected between 0 and 1"),
    ],
)
def test_errors_name_the_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_difficulties(**(VALID | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_prior([], []), r"n_correct, n: shapes \(0,\), \(0,\)"),
        (lambda: fit_prior([1], [2, 2]), r"n_correct, n: shapes \(1,\), \(2,\)"),
        (
            lambda: level_of(3, 2, levels=5, definition="fail_rate"),
            "n_correct: 3: expected 0 to n=2",
        ),
    ],
)
def test_the_parts_check_their_counts(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_each_problem_has_the_posterior_of_its_own_source_and_counts() -> None:
    sources, n_correct, n = ["b", "a", "b", "a", "b"], [1, 0, 3, 2, 1], [4, 4, 4, 3, 4]
    rates = pass_rates(sources, n_correct, n, interval=0.9)
    for i, source in enumerate(sources):
        same_source = [j for j, other in enumerate(sources) if other == source]
        a, b = fit_prior([n_correct[j] for j in same_source], [n[j] for j in same_source])
        posterior = beta(a + n_correct[i], b + n[i] - n_correct[i])
        expected = [posterior.mean(), posterior.ppf(0.05), posterior.ppf(0.95)]
        assert rates[:, i] == pytest.approx(expected)
    assert rates[:, 0].tolist() == rates[:, 4].tolist()
