"""Plans of equal compute."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from stages.lib.difficulty.weighting import start_fractions
from stages.lib.sft.schedule import balance_micro_batches, plan_steps


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


RNG = seeded(7)
VARIED = RNG.integers(15, 71, 300).tolist()
REPEATS = RNG.integers(0, 6, 300).tolist()
AT_ONCE = [0.0] * 300


@pytest.mark.parametrize(
    ("tokens", "repeats", "steps", "tokens_per_step"),
    [
        pytest.param(VARIED, REPEATS, 200, 2048, id="many to a step"),
        pytest.param(VARIED, REPEATS, 500, 300, id="few to a step"),
        pytest.param(VARIED, [1] * 300, 40, 20_000, id="a pass and a half to a step"),
        pytest.param([60] * 50 + [61] * 50, [1] * 100, 20, 6000, id="hard to complete"),
        pytest.param([10], [2], 5, 100, id="one example"),
        pytest.param([10, 99], [1, 0], 5, 50, id="unused and too long"),
    ],
)
def test_every_step_holds_exactly_its_tokens_in_proportion_to_the_repeats(
    tokens: list[int], repeats: list[int], steps: int, tokens_per_step: int
) -> None:
    start_fraction = [0.0] * len(tokens)
    plan = plan_steps(
        tokens, repeats, start_fraction, steps=steps, tokens_per_step=tokens_per_step, rng=seeded()
    )
    assert [sum(tokens[example] for example in step) for step in plan] == [tokens_per_step] * steps
    counts = np.bincount(np.concatenate(plan), minlength=len(tokens))
    passes = counts.sum() / sum(repeats)
    largest = max(repeats)
    assert np.abs(counts - passes * np.array(repeats)).max() <= largest + 1
    assert counts[np.array(repeats) == 0].sum() == 0


def test_every_example_is_seen_before_the_pass_after_next() -> None:
    repeats = [1] * 300
    plan = plan_steps(VARIED, repeats, AT_ONCE, steps=60, tokens_per_step=500, rng=seeded())
    order = np.concatenate(plan)
    for example in range(300):
        positions = np.flatnonzero(order == example)
        assert positions[0] < 300 + 60
        assert np.diff(positions).max(initial=0) < 600 + 60


@pytest.mark.parametrize("joining", [0, 20], ids=["all at once", "one more in every step"])
def test_length_does_not_decide_how_often_an_example_is_seen(joining: int) -> None:
    counts = np.zeros(300)
    start_fraction = [0.0] * (300 - joining) + [number / 20 for number in range(joining)]
    for seed in range(60):
        plan = plan_steps(
            VARIED, [1] * 300, start_fraction, steps=20, tokens_per_step=500, rng=seeded(seed)
        )
        counts += np.bincount(np.concatenate(plan), minlength=300)
    counts = counts[: 300 - joining]
    short = np.array(VARIED[: 300 - joining]) < np.median(VARIED)
    assert counts[short].mean() == pytest.approx(counts[~short].mean(), rel=0.05)


def test_a_plan_depends_on_its_seed_alone() -> None:
    def plan(seed: int, tokens: Any) -> list[list[int]]:
        return plan_steps(tokens, REPEATS, AT_ONCE, steps=9, tokens_per_step=999, rng=seeded(seed))

    assert plan(1, VARIED) == plan(1, VARIED) == plan(1, np.array(VARIED))
    assert plan(1, VARIED) != plan(2, VARIED)


HARDNESS = RNG.integers(1, 31, 300).tolist()


def paced(start_fraction: Any, *, steps: int = 40) -> list[list[int]]:
    return plan_steps(
        VARIED, REPEATS, start_fraction, steps=steps, tokens_per_step=2048, rng=seeded()
    )


@pytest.mark.parametrize("pace", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("permuted", [False, True], ids=["curriculum", "control"])
def test_examples_join_at_their_pace_and_every_step_is_full(pace: float, permuted: bool) -> None:
    start_fraction = start_fractions(HARDNESS, pace=pace)
    if permuted:
        start_fraction = seeded().permutation(start_fraction)
    plan = paced(start_fraction)
    assert [sum(VARIED[example] for example in step) for step in plan] == [2048] * 40
    for index, step in enumerate(plan):
        assert max(start_fraction[step]) <= index / 40
    # From here on there is one plan over everything.
    counts = np.bincount(np.concatenate([[], *plan[int(pace * 40) :]]).astype(int), minlength=300)
    passes = counts.sum() / sum(REPEATS)
    assert np.abs(counts - passes * np.array(REPEATS)).max() <= max(REPEATS) + 1


@pytest.mark.parametrize("pace", [0.3, 1.0])
def test_the_share_that_takes_part_grows_evenly(pace: float) -> None:
    start_fraction = start_fractions(list(range(100)), pace=pace)
    for t in np.linspace(0, 1, 31):
        competence = min(1.0, 0.1 + 0.9 * t / pace)
        assert abs((start_fraction <= t + 1e-12).mean() - competence) < 0.01 + 1e-9
    assert max(start_fraction) == pytest.approx(pace)


def test_an_example_joins_in_the_very_step_that_its_share_names() -> None:
    """The nearest floating-point number to 0.1 is a little more than a step of ten."""
    plan = plan_steps([1, 1], [1, 1], [0.0, 0.1], steps=10, tokens_per_step=20, rng=seeded())
    assert [1 in step for step in plan] == [False] + [True] * 9


def test_in_a_run_too_short_for_its_pace_examples_join_together() -> None:
    plan = paced(start_fractions(HARDNESS, pace=0.9), steps=2)
    assert [sum(VARIED[example] for example in step) for step in plan] == [2048] * 2


def test_what_joins_later_may_be_what_completes_a_step() -> None:
    """Only what takes part is asked to add up: nothing else can complete the first steps."""
    late = {"tokens": [3, 3, 2], "repeats": [1, 1, 1], "steps": 4, "tokens_per_step": 8}
    plan_steps(**late, start_fraction=[0.0, 0.0, 0.0], rng=seeded())
    with pytest.raises(ValueError, match="no whole examples of 3 to 3 supervised tokens"):
        plan_steps(**late, start_fraction=[0.0, 0.0, 0.5], rng=seeded())


@pytest.mark.parametrize(
    ("lengths", "bins", "micro_batches"),
    [
        ([7, 5, 4, 3, 1], 2, [[0, 3], [1, 2, 4]]),
        ([5, 5, 5], 3, [[0], [1], [2]]),
        ([1, 9], 1, [[1, 0]]),
        ([2, 2, 2, 2], 2, [[0, 2], [1, 3]]),
    ],
)
def test_balance_by_hand(lengths: list[int], bins: int, micro_batches: list[list[int]]) -> None:
    assert balance_micro_batches(lengths, bins) == micro_batches


def test_balance_keeps_everything_within_four_thirds_of_the_best() -> None:
    rng = seeded(4)
    for bins in (2, 3):
        for _ in range(10):
            lengths = rng.integers(1, 30, 7).tolist()
            micro_batches = balance_micro_batches(lengths, bins)
            assert sorted(index for batch in micro_batches for index in batch) == list(range(7))
            best = min(
                max(sum(x for x, b in zip(lengths, to, strict=True) if b == a) for a in range(bins))
                for to in product(range(bins), repeat=7)
            )
            fullest = max(sum(lengths[index] for index in batch) for batch in micro_batches)
            assert best <= fullest <= 4 / 3 * best
            assert all(micro_batches)


PLAN: dict[str, Any] = {
    "tokens": [3, 5],
    "repeats": [1, 1],
    "start_fraction": [0.0, 0.0],
    "steps": 2,
    "tokens_per_step": 16,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": [3]}, r"start_fraction: lengths \[1, 2, 2\]: expected equal"),
        (
            {"start_fraction": [0.1, 0.2]},
            "start_fraction: least 0.1: expected 0, an example to begin with",
        ),
        ({"tokens": [], "repeats": [], "start_fraction": []}, "expected equal, at least 1"),
        ({"steps": 0}, "steps: 0: expected at least 1"),
        ({"repeats": [1, -1]}, "repeats: example 1: -1: expected 0 or more"),
        ({"repeats": [0, 0]}, "repeats: all 0: expected at least one"),
        ({"tokens": [3, 0]}, "tokens: example 1: 0: expected at least 1"),
        (
            {"tokens": [3, 17]},
            "tokens: example 1: 17 supervised tokens: expected at most tokens_per_step=16",
        ),
        (
            {"tokens": [4, 6], "tokens_per_step": 15},
            "tokens_per_step: 15: no whole examples of 4 to 6 supervised tokens add up to it",
        ),
        (
            {"tokens": [8, 7]},
            "tokens: example 1: 7 supervised tokens: no other examples complete it",
        ),
        (
            {"tokens": [1, 100], "tokens_per_step": 150, "steps": 20},
            "tokens_per_step: 150: no choice among 25[0-9]+ examples in a row adds",
        ),
    ],
)
def test_an_impossible_plan_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_steps(**(PLAN | change), rng=seeded())


@pytest.mark.parametrize(
    ("lengths", "bins", "message"),
    [
        ([1], 2, "lengths: 1 examples: expected at least bins=2"),
        ([1], 0, "bins: 0: expected at least 1"),
        ([1, 0], 2, "lengths: example 1: 0: expected at least 1"),
    ],
)
def test_an_impossible_balance_is_refused(lengths: list[int], bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        balance_micro_batches(lengths, bins)
