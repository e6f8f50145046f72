"""Statistics against hand-computed values, other implementations and simulated truth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.stats import binom

from stages.lib.analysis import intervals, paired, significance

Data = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pair(first_only: int, second_only: int, same: int) -> Data:
    first = np.repeat([True, False, False], [first_only, second_only, same])
    second = np.repeat([False, True, False], [first_only, second_only, same])
    return first, second


def bootstrap(*arrays: Any, draws: int = 300, level: float = 0.95, **design: Any) -> Any:
    function = intervals.paired_interval if len(arrays) > 1 else intervals.mean_interval
    return function(*arrays, draws=draws, level=level, rng=seeded(), **design)


def test_standard_error_of_half_of_220_is_3_4_points() -> None:
    assert intervals.standard_error([0, 1] * 110) == pytest.approx(np.sqrt(0.25 / 219))


def test_standard_error_by_cluster_is_that_of_statsmodels() -> None:
    rng = seeded()
    clusters = rng.integers(0, 12, 200)
    correct = rng.random(200) < rng.random(12)[clusters]
    error = intervals.standard_error(correct, clusters)
    fit = sm.OLS(correct.astype(float), np.ones(200)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}
    )
    assert error == pytest.approx(fit.bse[0])
    assert error > 1.5 * intervals.standard_error(correct)


def test_standard_error_counts_only_the_spread_inside_strata() -> None:
    strata = ["easy"] * 4 + ["hard"] * 4
    error = intervals.standard_error([1, 1, 1, 0, 0, 0, 0, 1], strata=strata)
    assert error == pytest.approx(np.sqrt(0.75 * 0.25 / 3 / 2))
    assert intervals.standard_error([1, 1, 0, 0], strata=["a", "a", "b", "b"]) == 0


@pytest.mark.parametrize(
    ("n_correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_is_that_of_newcombe_1998(
    n_correct: int, n: int, low: float, high: float
) -> None:
    assert intervals.wilson_interval(n_correct, n, level=0.95) == pytest.approx(
        (low, high), abs=5e-5
    )


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"),
    [(1, 9, 22 / 1024), (9, 1, 22 / 1024), (0, 5, 2 / 32), (3, 3, 1), (0, 0, 1)],
)
def test_mcnemar_against_the_binomial_by_hand(first_only: int, second_only: int, p: float) -> None:
    first, second = pair(first_only, second_only, same=7)
    assert significance.mcnemar_p(first, second) == pytest.approx(p)
    assert significance.sign_flip_p(first, second, np.arange(first.size)) == pytest.approx(p)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        ([1, 1, 1, 1], [0, 0, 0, 0], 2 / 8),
        ([1, 1, 1, 0], [0, 0, 0, 1], 6 / 8),
        ([1, 0, 1, 0], [0, 1, 0, 1], 1.0),
    ],
)
def test_sign_flips_of_clusters_of_two_one_and_one(
    first: list[int], second: list[int], p: float
) -> None:
    assert significance.sign_flip_p(first, second, ["a", "a", "b", "c"]) == pytest.approx(p)


def test_interval_of_many_problems_is_the_normal_one() -> None:
    first, second = pair(300, 240, same=2460)
    low, high = bootstrap(first, second, draws=20_000)
    error = np.std(first.astype(int) - second, ddof=1) / np.sqrt(3000)
    assert (low + high) / 2 == pytest.approx(0.02)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.03)


def test_interval_of_models_that_never_or_always_differ() -> None:
    assert bootstrap(*pair(0, 0, same=30)) == (0, 0)
    assert bootstrap(*pair(30, 0, same=0)) == (1, 1)


def test_interval_reaches_the_limits_if_one_cluster_holds_every_difference() -> None:
    interval = bootstrap(*pair(10, 0, same=40), clusters=np.repeat(np.arange(5), 10))
    assert interval == (pytest.approx(-1), pytest.approx(1))


def test_interval_does_not_depend_on_how_the_draws_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data, strata = pair(30, 20, same=70), np.arange(120) % 3
    whole = bootstrap(*data, strata=strata)
    monkeypatch.setattr(intervals, "MAX_CELLS", 20)
    assert bootstrap(*data, strata=strata) == whole


def test_interval_of_a_mean_of_lengths_is_the_normal_one() -> None:
    lengths = seeded(3).poisson(40, 3000)
    low, high = bootstrap(lengths, draws=5000)
    assert (low + high) / 2 == pytest.approx(lengths.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * lengths.std() / np.sqrt(3000), rel=0.04)


def test_interval_of_a_mean_of_differences_is_the_paired_one() -> None:
    first, second = pair(30, 20, same=70)
    clusters = np.arange(120) % 15
    of_mean = bootstrap(first.astype(int) - second, clusters=clusters)
    assert of_mean == bootstrap(first, second, clusters=clusters)


@pytest.mark.parametrize(
    ("first_only", "second_only", "n", "low", "high"),
    [
        (2, 0, 100, -0.0135, 0.0527),  # 2/102 -+ 1.96 sqrt(3 - 4/102) / 102
        (0, 0, 100, -0.0192, 0.0192),
        (1, 4, 50, -0.1487, 0.0333),  # -3/52 -+ 1.96 sqrt(6 - 9/52) / 52
    ],
)
def test_sparse_interval_by_hand(
    first_only: int, second_only: int, n: int, low: float, high: float
) -> None:
    data = pair(first_only, second_only, n - first_only - second_only)
    interval = intervals.sparse_interval(*data, level=0.95)
    assert interval == pytest.approx((low, high), abs=2e-4)
    comparison = paired.compare(*data, draws=200, level=0.95, rng=seeded())
    assert (comparison.low, comparison.high) == interval


def test_sparse_interval_of_equal_models_holds_zero_often_enough() -> None:
    rng = seeded()
    wins, losses = rng.binomial(3, 0.5, 2000), rng.binomial(3, 0.5, 2000)
    n_covered = 0
    for won, lost in zip(wins, losses, strict=True):
        low, high = intervals.sparse_interval(*pair(won, lost, 100 - won - lost), level=0.95)
        n_covered += low <= 0 <= high
    assert n_covered / 2000 >= 0.95


def test_compare_takes_the_test_that_fits_the_units() -> None:
    first, second = pair(6, 1, same=13)
    clusters = np.arange(20) // 2
    single, clustered, again = (
        paired.compare(first, second, units, draws=200, level=0.95, rng=seeded())
        for units in (None, clusters, clusters)
    )
    assert single.difference == clustered.difference == pytest.approx(0.25)
    assert single.p == significance.mcnemar_p(first, second)
    assert clustered.p == significance.sign_flip_p(first, second, clusters)
    assert single.low < 0.25 < single.high
    assert clustered == again


def logistic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))


RUNGS = np.repeat(np.arange(14), 20)
FAMILIES = np.repeat(np.arange(40), 7)
RUNG_RATES = np.linspace(0.02, 0.9, 14)[RUNGS]
OPPOSITE = np.where(RUNGS % 2 == 0, 0.35, 0.65)


def equal_on_each_problem(rng: np.random.Generator) -> Data:
    return rng.random(280) < RUNG_RATES, rng.random(280) < RUNG_RATES


def opposite_on_the_rungs(rng: np.random.Generator) -> Data:
    return rng.random(280) < OPPOSITE, rng.random(280) < 1 - OPPOSITE


def correlated_in(clusters: NDArray[np.int64]) -> Callable[[np.random.Generator], Data]:
    size = int(clusters.max()) + 1

    def draw(rng: np.random.Generator) -> Data:
        shared = rng.normal(-1, 1, size)
        rates = [logistic(shared + rng.normal(0, 0.7, size))[clusters] for _ in range(2)]
        return rng.random(clusters.size) < rates[0], rng.random(clusters.size) < rates[1]

    return draw


def coverage(
    draw: Callable[[np.random.Generator], Data],
    clusters: NDArray[np.int64] | None,
    strata: NDArray[np.int64] | None,
) -> tuple[float, float]:
    """Return how often the interval holds zero, and how often p is at most 0.05."""
    rng = seeded(3)
    results = [
        paired.compare(*draw(rng), clusters, strata=strata, draws=199, level=0.95, rng=rng)
        for _ in range(1000)
    ]
    covered = [result.low <= 0 <= result.high for result in results]
    rejected = [result.p <= 0.05 for result in results]
    return float(np.mean(covered)), float(np.mean(rejected))


@pytest.mark.parametrize(
    ("draw", "clusters", "strata"),
    [
        pytest.param(equal_on_each_problem, None, None, id="problems"),
        pytest.param(equal_on_each_problem, None, RUNGS, id="strata, equal on each"),
        pytest.param(opposite_on_the_rungs, None, RUNGS, id="strata, equal on average"),
        pytest.param(correlated_in(RUNGS), RUNGS, None, id="14 clusters"),
        pytest.param(correlated_in(FAMILIES), FAMILIES, None, id="40 clusters"),
        pytest.param(correlated_in(FAMILIES), FAMILIES, FAMILIES % 4, id="clusters in strata"),
    ],
)
def test_interval_of_equal_models_holds_zero_as_often_as_it_says(
    draw: Callable[[np.random.Generator], Data],
    clusters: NDArray[np.int64] | None,
    strata: NDArray[np.int64] | None,
) -> None:
    covered, rejected = coverage(draw, clusters, strata)
    assert covered == pytest.approx(0.95, abs=0.015)
    assert rejected <= 0.05 + 0.015


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2], [0.2]),
        ([0.6, 0.7], [1.0, 1.0]),
    ],
)
def test_holm_by_hand(given: list[float], adjusted: list[float]) -> None:
    assert significance.holm(given).tolist() == pytest.approx(adjusted)


def detectable(n: int, discordance: float, power: float = 0.8) -> float | None:
    return significance.detectable_difference(n, discordance, power=power, alpha=0.05)


@pytest.mark.parametrize(("n", "discordance"), [(220, 0.3), (280, 0.25), (1000, 0.2)])
def test_the_detectable_difference_is_found_about_8_times_of_10(n: int, discordance: float) -> None:
    difference = detectable(n, discordance)
    assert difference is not None
    power = 0.0
    for discordant in range(1, n + 1):
        wins = np.arange(discordant + 1)
        tail = binom.cdf(np.minimum(wins, discordant - wins), discordant, 0.5)
        chances = binom.pmf(wins, discordant, 0.5 + difference / (2 * discordance))
        power += binom.pmf(discordant, n, discordance) * chances[2 * tail <= 0.05].sum()
    assert 0.75 < power < 0.8


def test_the_detectable_difference_solves_its_equation() -> None:
    difference = detectable(400, 0.25)
    assert difference is not None
    right_side = 1.959964 * 0.5 + 0.841621 * np.sqrt(0.25 - difference**2)
    assert 20 * difference == pytest.approx(right_side, rel=1e-6)


@pytest.mark.parametrize(("n", "discordance"), [(10, 0.2), (1, 1.0), (500, 0.0)])
def test_nothing_is_detectable_in_too_few_discordant_pairs(n: int, discordance: float) -> None:
    assert detectable(n, discordance) is None


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("standard_error", [[]], r"correct: shape \(0,\): expected"),
        ("standard_error", [[0, 0.5]], r"correct: .*0\.5.*: expected 0 or 1"),
        ("standard_error", [[0, np.nan]], r"correct: .*nan.*: expected 0 or 1"),
        ("standard_error", [[1]], "problems: 1 in a stratum: expected at least 2"),
        ("standard_error", [[0, 1], ["a"]], r"clusters: shape \(1,\): expected one"),
        ("standard_error", [[0, 1], ["a", "a"]], "clusters: 1 in a stratum: expected"),
        ("mcnemar_p", [[0, 1], [0]], "second: length 1: expected that of first, 2"),
        ("mcnemar_p", [[0, 1], [0, 2]], "second: .*2.*: expected 0 or 1"),
        ("sign_flip_p", [[0, 1], [0, 1], [0]], r"clusters: shape \(1,\)"),
        ("holm", [[]], "p_values: empty"),
        ("holm", [[0.1, 1.1]], r"p_values: 1\.1: expected 0 to 1"),
    ],
)
def test_wrong_arrays_are_named(function: str, arguments: list[Any], message: str) -> None:
    module = intervals if hasattr(intervals, function) else significance
    with pytest.raises(ValueError, match=message):
        getattr(module, function)(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: intervals.standard_error([0, 1, 1], ["a", "a", "b"], strata=[0, 1, 1]),
            "clusters: one is in two strata",
        ),
        (lambda: bootstrap([0, 1], [1, 1], draws=0), "draws: 0: expected at least 1"),
        (lambda: bootstrap([0, 1], [1, 1], level=95), "level: 95: expected between 0 and 1"),
        (lambda: bootstrap([1, 2.5]), r"values: 2\.5: expected whole numbers"),
        (lambda: bootstrap([]), r"values: shape \(0,\): expected a list"),
        (lambda: intervals.wilson_interval(3, 2, level=0.9), "n_correct: 3: expected 0 to n=2"),
        (lambda: intervals.wilson_interval(0, 0, level=0.9), "n: 0: expected at least 1"),
        (lambda: detectable(9, 1.5, 0.8), r"discordance: 1\.5: expected 0 to 1"),
        (lambda: detectable(9, 0.5, 1), "power: 1: expected between 0 and 1"),
        (lambda: detectable(0, 0.5, 0.8), "n: 0: expected at least 1"),
    ],
)
def test_wrong_settings_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_units_are_counted_by_kind() -> None:
    values = [3, -2, 3, 1, -1, 0, -3, 2]
    clusters = ["a", "a", "b", "b", "c", "c", "d", "d"]
    # Sums 1, 4, -1, -1 of two problems each.
    (part,) = intervals._strata(np.array(values), clusters, None)
    assert part.kinds.tolist() == [[-1, 1, 4], [2, 2, 2]]
    assert part.counts.tolist() == [2, 1, 1]


def test_kinds_are_those_of_unique_columns() -> None:
    rng = seeded()
    units = np.stack([rng.integers(-50, 50, 500), rng.integers(1, 9, 500)])
    kinds, counts = intervals._kinds(units)
    expected, expected_counts = np.unique(units, axis=1, return_counts=True)
    assert kinds.tolist() == expected.tolist()
    assert counts.tolist() == expected_counts.tolist()


@pytest.mark.parametrize(
    ("labels", "codes"),
    [(["b", "a", "b", "C"], [2, 1, 2, 0]), (["é", "z", "a"], [2, 1, 0]), ([10, 9, 10], [1, 0, 1])],
)
def test_labels_are_numbered_in_their_order(labels: list[Any], codes: list[int]) -> None:
    for array in (labels, np.array(labels, dtype=object)):
        assert intervals.label_codes("strata", array, len(labels)).tolist() == codes
