"""The plan of each strategy, by hand, and of its control."""

from collections import Counter
from typing import Any

import pytest

from stages.lib.difficulty.strategies import ArmPlan, permutation_seed, plan_arm
from stages.lib.params.strategies import Weigh
from tests.rows import make_difficulty

K = 4
N_CORRECT = [0, 4, 2, 1, 0, 3, 4, 2, 0, 1, 4, 3]
DIFFICULTIES = [make_difficulty(str(i), solved / K, K) for i, solved in enumerate(N_CORRECT)]


def plans(arm: dict[str, Any], seed: int | None = None) -> tuple[ArmPlan, ArmPlan]:
    """Return the plans of an arm and of its control."""
    raw = {"arm": arm, "control": {"strategy": "control", "control_of": "arm", "seed": seed}}
    weigh = Weigh.model_validate({"seed": 1, "prompting": ["cot"], "arms": raw})
    own, control = (
        plan_arm(weigh.arms, name, 12, DIFFICULTIES, seed=permutation_seed(weigh, name))
        for name in ("arm", "control")
    )
    return own, control


BASE = {"base": 1.0, "factor": 1.0}


@pytest.mark.parametrize(
    ("arm", "repeats", "weights"),
    [
        ({"strategy": "uniform"}, [1] * 12, [1] * 12),
        ({"strategy": "repeat"} | BASE, [6, 2, 4, 5, 6, 3, 2, 4, 6, 5, 2, 3], [1] * 12),
        ({"strategy": "weight"} | BASE, [1] * 12, [6, 2, 4, 5, 6, 3, 2, 4, 6, 5, 2, 3]),
        (
            {"strategy": "band", "low": 0.25, "high": 0.5},
            [0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0],
            [1] * 12,
        ),
        (
            {"strategy": "band", "low": 0.75, "high": 0.75},
            [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
            [1] * 12,
        ),
    ],
)
def test_repeats_and_weights_by_hand(
    arm: dict[str, Any], repeats: list[int], weights: list[float]
) -> None:
    own, _ = plans(arm)
    assert own.repeats.tolist() == repeats
    assert own.weights.tolist() == weights


@pytest.mark.parametrize(
    "arm",
    [
        {"strategy": "repeat"} | BASE,
        {"strategy": "weight"} | BASE,
        {"strategy": "band", "low": 0.25, "high": 0.5},
        {"strategy": "curriculum", "pace": 0.5},
    ],
    ids=lambda arm: arm["strategy"],
)
def test_a_control_has_the_same_numbers_on_other_problems(arm: dict[str, Any]) -> None:
    own, control = (
        list(zip(plan.repeats, plan.weights, plan.start_fraction, strict=True))
        for plan in plans(arm)
    )
    assert Counter(own) == Counter(control)
    assert own != control


def test_a_curriculum_starts_with_the_easiest() -> None:
    own, _ = plans({"strategy": "curriculum", "pace": 0.5})
    # A quarter has the best pass rate; the other three quarters join evenly.
    start_of = {4: 0, 3: 1 / 9, 2: 2 / 9, 1: 3 / 9, 0: 1 / 2}
    assert own.start_fraction.tolist() == pytest.approx([start_of[count] for count in N_CORRECT])
    assert set(own.repeats) == set(own.weights) == {1}


FACTORS = [
    ({"strategy": "focal", "gamma": 2.0, "level": "token"}, ("focal", 2.0, "token", 0.0)),
    ({"strategy": "focal", "gamma": 1.0, "level": "example"}, ("focal", 1.0, "example", 0.0)),
    ({"strategy": "anti_focal", "scale": 0.3}, ("likelihood", 0.3, "example", 0.0)),
    ({"strategy": "asft", "anchor": 0.1}, ("likelihood", 1.0, "token", 0.1)),
    ({"strategy": "prift"}, ("base_likelihood", 1.0, "token", 0.0)),
]


@pytest.mark.parametrize(("arm", "expected"), FACTORS)
def test_a_loss_factor_leaves_the_data_as_it_is_and_its_control_shuffles_it(
    arm: dict[str, Any], expected: tuple[str, float, str, float]
) -> None:
    own, control = plans(arm)
    for plan, shuffled in ((own, False), (control, True)):
        assert set(plan.repeats) == set(plan.weights) == {1}
        assert set(plan.start_fraction) == {0}
        found = (plan.factor, plan.factor_power, plan.factor_unit, plan.anchor)
        assert (found, plan.factor_shuffled) == (expected, shuffled)


def test_the_control_of_a_dart_arm_shuffles_the_samples() -> None:
    own, control = plans({"strategy": "dart_uniform", "per_problem": 3})
    for plan, shuffled in ((own, False), (control, True)):
        assert plan.n_samples is not None
        assert (plan.n_samples.tolist(), plan.samples_shuffled) == ([3] * 12, shuffled)


def test_a_control_is_a_function_of_the_seed() -> None:
    repeat = {"strategy": "repeat"} | BASE
    default, same, other = (plans(repeat, seed)[1].repeats.tolist() for seed in (None, 1, 2))
    assert default == same != other


@pytest.mark.parametrize("low", [0.3, 0.1])
def test_a_band_without_a_problem_is_an_error(low: float) -> None:
    message = f"^weigh.arms.arm: no problem has a pass rate from {low} to {low + 0.1}: expected"
    with pytest.raises(ValueError, match=message):
        plans({"strategy": "band", "low": low, "high": low + 0.1})
