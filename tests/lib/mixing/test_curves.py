"""Fitted learning curves, and what is spent where."""

import numpy as np
import pytest

from stages.lib.mixing.curves import Curves, fit_curves, spend
from stages.lib.mixing.observations import Observation
from stages.lib.mixing.rules import Planned
from stages.lib.params.strategies import PlannedArm
from tests.arms import PLANNED

ARM = PlannedArm.model_validate(PLANNED | {"scale": 1.0, "floor": 0.1})
ONES = np.ones(2)


def power_law(a: float, alpha: float, *ns: float) -> list[tuple[float, float]]:
    return [(n, a * n**-alpha) for n in ns]


def test_equal_exponents_are_found_exactly() -> None:
    curves = fit_curves([power_law(8, 0.5, 1, 4, 16), power_law(3, 0.5, 2, 8)])
    np.testing.assert_allclose(curves.alpha, [0.5, 0.5])
    np.testing.assert_allclose(np.exp(curves.log_a), [8, 3])
    np.testing.assert_allclose(
        curves.accuracy(np.array([16.0, 9.0]), scale=0.5), np.exp([-1.0, -0.5])
    )


def test_exponents_are_averaged_with_that_of_all_cells() -> None:
    # The same numbers of examples, so that all have half of the weight.
    curves = fit_curves([power_law(8, 0.2, 1, 4, 16), power_law(8, 0.8, 1, 4, 16)])
    np.testing.assert_allclose(curves.alpha, [0.35, 0.65])


def test_a_loss_that_rises_has_the_exponent_0() -> None:
    curves = fit_curves([[(1, 1.0), (4, 3.0)], [(1, 1.0), (4, 3.0)]])
    assert curves.alpha.tolist() == [0, 0]


def test_one_point_is_no_curve() -> None:
    with pytest.raises(ValueError, match="^cell 1: 1 points: expected at least 2$"):
        fit_curves([[(1, 1.0), (2, 1.0)], [(1, 1.0)]])


def test_the_rest_is_spent_where_accuracy_rises_most() -> None:
    n = np.array([100.0, 100.0, 100.0])
    # Mastered, at A = 1/e, and out of reach.
    curves = Curves(np.log([0.01, 1.0, 50.0]) + 0.5 * np.log(100), np.full(3, 0.5))
    mastered, reached, hopeless = spend(curves, n, np.ones(3), 100, scale=1)
    assert reached > 9 * (mastered + hopeless)
    assert mastered + reached + hopeless >= 100


def test_a_cell_that_needs_many_examples_gets_them_if_they_suffice() -> None:
    n = np.array([10.0, 10.0])
    # The first gains nothing from a few more examples, but a lot from two hundred.
    curves = Curves(np.log([30.0, 0.05]) + np.array([2.0, 0.1]) * np.log(10), np.array([2.0, 0.1]))
    assert spend(curves, n, ONES, 200, scale=1)[0] > 100
    few = spend(curves, n, ONES, 8, scale=1)
    assert few[1] > few[0]


def test_an_example_of_twice_the_tokens_has_to_gain_twice() -> None:
    curves = Curves(np.zeros(2), np.full(2, 0.5))
    cheap, dear = spend(curves, 10 * ONES, np.array([10.0, 20.0]), 400, scale=1)
    assert cheap > dear


def test_without_anything_to_gain_all_get_the_same() -> None:
    curves = Curves(np.zeros(2), np.zeros(2))
    assert spend(curves, 10 * ONES, np.array([1.0, 3.0]), 40, scale=1).tolist() == [10, 10]


def test_weights_are_passes_over_a_cell_relative_to_the_largest() -> None:
    rule = Planned(ARM, np.array([10.0, 10.0]), ONES, [80.0, 40.0])
    assert rule.weights(0).tolist() == [1, 1]
    for example in range(8):
        # Mastered, and falling from 3.
        rule.observe(0, Observation(0, example, 1e-6, True))
        rule.observe(1, Observation(0, 100 + example, 3 / (1 + example), False))
    assert np.isnan(rule.signal()).all()
    weights = rule.weights(1)
    np.testing.assert_allclose(weights, [0.1, 1])
    assert rule.signal()[0] == pytest.approx(1, abs=1e-3)
    assert 0 < rule.signal()[1] < 1


def test_a_second_look_counts_as_an_example_and_not_as_a_point() -> None:
    rule = Planned(ARM, ONES, ONES, [80.0])
    for _ in range(8):
        rule.observe(0, Observation(0, 1, 1.0, False))
        rule.observe(1, Observation(0, 2, 1.0, False))
    assert rule.weights(0).tolist() == [1, 1]
