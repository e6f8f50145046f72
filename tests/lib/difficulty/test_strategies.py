"""Each strategy, by hand, and its random control."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from stages.lib.core.schema import Difficulty
from stages.lib.difficulty.strategies import ArmPlan, plan_arm
from stages.lib.params.strategies import Weigh

K = 4
N_CORRECT = [0, 4, 2, 1, 0, 3, 4, 2, 0, 1, 4, 3]


def difficulty(number: int, n_correct: int) -> Difficulty:
    rate = n_correct / K
    return Difficulty(
        problem_id=f"p{number}",
        source="s",
        n=K,
        n_correct=n_correct,
        pass_rate=rate,
        posterior_mean=rate,
        low=rate,
        high=rate,
        level=5.0 - n_correct,
    )


DIFFICULTIES = [difficulty(number, right) for number, right in enumerate(N_CORRECT)]


def treated(arm: dict[str, Any]) -> tuple[ArmPlan, ArmPlan]:
    """Return what an arm does with the problems, and what its control does."""
    raw = {"arm": arm, "control": {"strategy": "control", "control_of": "arm"}}
    arms = Weigh.model_validate({"seed": 1, "seeds": {}, "prompting": ["cot"], "arms": raw}).arms
    own, control = (plan_arm(arms, name, 12, DIFFICULTIES, seed=1) for name in ("arm", "control"))
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
    own, _ = treated(arm)
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
        list(
            zip(
                *(of.tolist() for of in (one.repeats, one.weights, one.start_fraction)), strict=True
            )
        )
        for one in treated(arm)
    )
    assert Counter(own) == Counter(control)
    assert own != control


def test_a_curriculum_opens_the_easiest_first() -> None:
    own, _ = treated({"strategy": "curriculum", "pace": 0.5})
    # A quarter has the best pass rate; the other three quarters join evenly.
    opens_of = {4: 0, 3: 1 / 9, 2: 2 / 9, 1: 3 / 9, 0: 1 / 2}
    assert own.start_fraction.tolist() == pytest.approx([opens_of[right] for right in N_CORRECT])
    assert set(own.repeats) == set(own.weights) == {1}


@pytest.mark.parametrize("level", ["token", "example"])
def test_a_focal_arm_leaves_the_data_as_it_is_and_its_control_deals_factors(level: str) -> None:
    own, control = treated({"strategy": "focal", "gamma": 2.0, "level": level})
    for one, dealt in ((own, False), (control, True)):
        assert set(one.repeats) == set(one.weights) == {1}
        assert set(one.start_fraction) == {0}
        assert (one.focal_gamma, one.focal_level, one.focal_shuffled) == (2.0, level, dealt)


def test_a_control_is_a_function_of_the_seed() -> None:
    _, first = treated({"strategy": "repeat"} | BASE)
    _, second = treated({"strategy": "repeat"} | BASE)
    assert np.array_equal(first.repeats, second.repeats)


@pytest.mark.parametrize("low", [0.3, 0.1])
def test_a_band_without_a_problem_is_named(low: float) -> None:
    message = f"^weigh.arms.arm: no problem has a pass rate from {low} to {low + 0.1}: expected"
    with pytest.raises(ValueError, match=message):
        treated({"strategy": "band", "low": low, "high": low + 0.1})
