"""The statistics of the miniature of GRPO."""

import pytest

from benchmarks.reinforce import rise


def test_a_rise_comes_with_students_interval_over_the_seeds() -> None:
    # Rises of 0.1, 0.2 and 0.3: standard error 0.1 / sqrt(3), times 4.3027.
    found = rise([[0.0, 9.0, 9.0, 0.1], [0.2, 9.0, 9.0, 0.4], [0.4, 9.0, 9.0, 0.7]])
    assert found["rises"] == [0.1, 0.2, 0.3]
    assert (found["rise"], found["low"], found["high"]) == (0.2, -0.0484, 0.4484)
    assert (found["first"], found["last"]) == pytest.approx((0.2, 0.4))


def test_a_quarter_is_rounded_down() -> None:
    found = rise([[0.0] * 2 + [5.0] * 7 + [1.0] * 2] * 2)
    assert (found["rise"], found["low"], found["high"]) == (1.0, 1.0, 1.0)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="seeds: 1: expected at least 2"):
        rise([[0.1, 0.2]])
