"""Intervals of ratios hold the truth as often as they say."""

import numpy as np
import pytest

from stages.lib.analysis.ratio import ratio_interval


def test_by_hand() -> None:
    # Residuals x - 2 t are -1, 1, 1, -1: variance 2 in each stratum of two.
    ratio, low, high = ratio_interval([1, 5, 3, 3], [1, 2, 1, 2], ["a", "a", "b", "b"], level=0.95)
    assert ratio == 2
    half = 1.959964 * (2 * 2 + 2 * 2) ** 0.5 / 6
    assert (low, high) == pytest.approx((2 - half, 2 + half))


def test_it_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    strata = np.repeat(np.arange(7), 20)
    # A stratum's own level is fixed: only units inside it vary.
    rates = np.linspace(0.2, 2.0, 7)[strata]
    covered = 0
    for _ in range(1_000):
        tokens = rng.integers(5, 40, len(strata))
        losses = rng.gamma(2.0, rates * tokens / 2.0)
        _, low, high = ratio_interval(losses, tokens, strata, level=0.9)
        covered += low <= rates.mean() <= high
    assert 860 < covered < 935


def test_strata_of_one_unit_are_taken_together() -> None:
    alone = ratio_interval([1, 5, 3, 3], [1, 2, 1, 2], ["a", "a", "b", "c"], level=0.95)
    together = ratio_interval([1, 5, 3, 3], [1, 2, 1, 2], ["a", "a", "b", "b"], level=0.95)
    assert alone == together


@pytest.mark.parametrize(
    ("numerators", "denominators", "strata", "message"),
    [
        ([1, 2], [1], ["a", "a"], "expected the same"),
        ([1, 2], [1, 0], ["a", "a"], "expected positive numbers"),
        ([1, 2, 3], [1, 1, 1], ["a", "a", "b"], "1 unit is the only one"),
    ],
)
def test_what_has_no_interval_is_refused(
    numerators: list[int], denominators: list[int], strata: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ratio_interval(numerators, denominators, strata, level=0.9)
