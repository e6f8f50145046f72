"""What the weights of the cells follow."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.core.paths import CONF
from stages.lib.mixing.cells import Cells
from stages.lib.mixing.observations import Observation, load, save
from stages.lib.mixing.rules import (
    DiscountedMean,
    Frontier,
    Mastery,
    Trace,
    averaged,
    permuted,
    rule_of,
)
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from stages.lib.params.strategies import FrontierArm, MasteryArm
from tests.arms import FRONTIER, MASTERY

E = math.e
TRACE = np.array([[1.0, 1.0, 1.0], [0.2, 1.0, 0.6], [0.4, 1.0, 0.1]])


def seen(example: int, loss: float = 0.0, *, exact: bool = False) -> Observation:
    return Observation(0, example, loss, exact)


def frontier(cells: int = 3, *, warmup_examples: int = 1, half_life: float = 4) -> Frontier:
    changes = {"scale": 0.5, "floor": 0.2}
    changes |= {"half_life": half_life, "warmup_examples": warmup_examples}
    return Frontier(cells, FrontierArm.model_validate(FRONTIER | changes))


def mastery(**changes: Any) -> MasteryArm:
    return MasteryArm.model_validate(MASTERY | changes)


def test_a_value_counts_half_as_much_after_a_half_life() -> None:
    mean = DiscountedMean(2)
    assert math.isnan(mean.value())
    for value in (8.0, 0.0, 0.0):
        mean.add(value)
    # Weights 1/2, 1/sqrt(2) and 1.
    assert mean.value() == pytest.approx(4 / (1.5 + 0.5**0.5))
    assert mean.count == 3


def test_the_frontier_is_where_accuracy_rises_most() -> None:
    rule = frontier()
    # With scale 0.5: A = 1/e, 1 and e^-2; the slopes are 1/e, 0 and 2/e^2.
    for cell, loss in enumerate((2.0, 0.0, 4.0)):
        rule.observe(cell, seen(cell, loss))
    np.testing.assert_allclose(rule.signal(), [1 / E, 1, 1 / E**2])
    np.testing.assert_allclose(rule.weights(0), [1, 0.2, 0.2 + 0.8 * 2 / E])


def test_the_mean_is_of_accuracies_and_not_of_losses() -> None:
    rule = frontier(1, half_life=1e9)
    rule.observe(0, seen(0, 0.0))
    rule.observe(0, seen(1, 40.0))
    assert rule.signal()[0] == pytest.approx(0.5, abs=1e-6)


def test_only_the_first_look_at_an_example_counts() -> None:
    rule = frontier(1)
    rule.observe(0, seen(7, 2.0))
    rule.observe(0, seen(7, 0.0))
    assert rule.signal()[0] == pytest.approx(1 / E)


def test_weights_are_equal_until_every_cell_has_been_seen_enough() -> None:
    rule = frontier(2, warmup_examples=2)
    for example, (cell, loss) in enumerate([(0, 0.0), (0, 0.0), (1, 2.0)]):
        rule.observe(cell, seen(example, loss))
        assert rule.weights(example).tolist() == [1, 1]
    rule.observe(1, seen(9, 2.0))
    np.testing.assert_allclose(rule.weights(4), [0.2, 1])


@pytest.mark.parametrize("loss", [0.0, 5000.0], ids=["all mastered", "all hopeless"])
def test_without_a_frontier_weights_are_equal(loss: float) -> None:
    rule = frontier(2)
    for cell in (0, 1):
        rule.observe(cell, seen(cell, loss))
    weights = rule.weights(0)
    assert weights[0] == weights[1] > 0


def test_mastery_follows_what_is_exactly_right() -> None:
    rule = Mastery(2, mastery(half_life=1e9, warmup_examples=1))
    for example, exact in enumerate((True, True, False, True)):
        rule.observe(0, seen(example, exact=exact))
    rule.observe(1, seen(9, exact=False))
    np.testing.assert_allclose(rule.weights(0), [0.25 + 0.75 / 4, 1])


def test_a_cell_with_too_few_examples_for_the_warmup_is_named() -> None:
    cells = Cells([("gcd", "cot"), ("lcm", "pot")], [[0, 1, 2], [3]], [0, 0, 0, 1])
    train = parse_params(compose([], CONF), where="test").train
    with pytest.raises(ValueError, match=r"^warmup_examples: 2: lcm with pot has 1 examples: exp"):
        rule_of(mastery(warmup_examples=2), cells, [5] * 4, train)
    assert rule_of(mastery(warmup_examples=1), cells, [5] * 4, train)


def test_a_replay_has_the_trace_whatever_it_sees() -> None:
    rule = Trace(TRACE)
    rule.observe(0, seen(0, 3.0))
    assert [rule.weights(segment).tolist() for segment in range(3)] == TRACE.tolist()
    assert np.isnan(rule.signal()).all()


def test_dealt_weights_are_those_of_another_cell_throughout() -> None:
    for seed in range(20):
        dealt = permuted(TRACE, seed=seed)
        assert sorted(map(tuple, dealt.T)) == sorted(map(tuple, TRACE.T))
        assert (dealt != TRACE).any(axis=0).all()
        assert permuted(TRACE, seed=seed).tolist() == dealt.tolist()
    with pytest.raises(ValueError, match="^trace: 1 cells: "):
        permuted(TRACE[:, :1], seed=1)


def test_averaged_weights_never_change_and_give_each_cell_its_share() -> None:
    mean = averaged(TRACE)
    assert (mean == mean[0]).all()
    shares = (TRACE.T / TRACE.sum(axis=1)).mean(axis=1)
    np.testing.assert_allclose(mean[0] / mean[0].sum(), shares)


def test_observations_survive_a_checkpoint_to_the_last_bit(tmp_path: Path) -> None:
    rows = [Observation(0, 3, 1 / 3, True), Observation(1, 2, 1e-17, False)]
    save(tmp_path, rows)
    assert load(tmp_path) == rows
