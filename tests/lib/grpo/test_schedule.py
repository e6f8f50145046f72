"""Which problems are asked, and how often."""

import numpy as np
import pytest

from stages.lib.grpo.schedule import plan_candidates, plan_rounds

# Two problems always or never solved among five.
RATES = [0.0, 0.25, 0.5, 0.75, 1.0]


def counts(weight: float, *, rounds: int, per_round: int, seed: int = 1) -> list[int]:
    rng = np.random.default_rng(seed)
    planned = plan_rounds(
        RATES, rounds=rounds, per_round=per_round, zero_variance_weight=weight, rng=rng
    )
    assert planned.shape == (rounds, per_round)
    assert all(len(set(chosen)) == per_round for chosen in planned.tolist())
    return np.bincount(planned.ravel(), minlength=len(RATES)).tolist()


def test_with_weight_0_only_problems_with_a_signal_are_asked_each_as_often() -> None:
    assert counts(0.0, rounds=4, per_round=3) == [0, 4, 4, 4, 0]
    assert counts(0.0, rounds=6, per_round=2) == [0, 4, 4, 4, 0]


def test_with_weight_1_all_are_asked_as_often() -> None:
    assert counts(1.0, rounds=6, per_round=5) == [6] * 5


def test_others_are_asked_in_proportion_to_the_weight() -> None:
    drawn = counts(0.25, rounds=2000, per_round=3)
    epochs = drawn[2]
    for index in (1, 3):
        assert abs(drawn[index] - epochs) <= 1
    # 6000 draws from epochs that hold 3.5 problems on average.
    assert epochs == pytest.approx(6000 / 3.5, rel=0.03)
    for index in (0, 4):
        assert drawn[index] == pytest.approx(epochs / 4, rel=0.15)


def test_the_plan_depends_on_the_seed_alone() -> None:
    assert counts(0.5, rounds=3, per_round=2, seed=7) == counts(0.5, rounds=3, per_round=2, seed=7)


@pytest.mark.parametrize(("weight", "per_round", "limit"), [(0.0, 4, 3), (0.4, 4, 3), (1.0, 6, 5)])
def test_too_few_problems_are_named(weight: float, per_round: int, limit: int) -> None:
    message = rf"^grpo.prompts_per_step: {per_round}: expected at most {limit}, .* of {weight}$"
    with pytest.raises(ValueError, match=message):
        counts(weight, rounds=1, per_round=per_round)


def candidates(weight: float, most: int, rounds: int = 400) -> list[list[int]]:
    return plan_candidates(
        RATES,
        np.array([[1, 2]] * rounds),
        most=most,
        zero_variance_weight=weight,
        rng=np.random.default_rng(1),
    )


@pytest.mark.parametrize(
    ("weight", "most", "expected"),
    [(0.0, 9, {3}), (1.0, 9, {0, 3, 4}), (1.0, 0, set())],
)
def test_a_rounds_candidates_are_other_problems(
    weight: float, most: int, expected: set[int]
) -> None:
    planned = candidates(weight, most)
    assert all(set(others) == expected and len(others) == len(expected) for others in planned)
    if len(expected) > 1:
        assert len({tuple(others) for others in planned}) == 6


def test_candidates_are_limited_and_drawn_with_the_rounds_probabilities() -> None:
    planned = candidates(0.25, 2)
    assert max(map(len, planned)) == 2
    drawn = np.bincount([index for others in planned for index in others], minlength=5)
    assert drawn[[1, 2]].tolist() == [0, 0]
    assert all(0.15 < drawn[index] / 400 < 0.35 for index in (0, 4))
