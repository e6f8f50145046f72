"""Repeats are exact, and a curriculum starts as its formula says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import Bounds, milp

from stages.lib.difficulty.weighting import repeat_counts, start_fractions


@pytest.mark.parametrize(
    ("levels", "base", "factor", "repeats"),
    [
        ([1, 2, 3, 4, 5], 0, 1, [1, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 5], 1, 0.5, [1, 2, 2, 3, 3]),
        ([1, 2, 3, 4, 5], 3, 0.25, [3, 3, 3, 4, 4]),
        ([1.0, 5.0], 2, 2, [4, 12]),
        ([10, 9, 30], 0, 0.1, [1, 0, 3]),
        ([3], 0.7, 0.1, [1]),
        ([10, 9], 0, 0.7, [7, 6]),
        ([1 / 3, 2 / 3, 0.3], 0, 3, [1, 2, 0]),
        ([1, 5], 5, -1, [4, 0]),
    ],
)
def test_repetitions_are_exact(
    levels: list[float], base: float, factor: float, repeats: list[int]
) -> None:
    assert repeat_counts(levels, base=base, factor=factor).tolist() == repeats


EXAMPLES, BATCH = 168_810, 128
PUBLISHED_STEPS = {(0, 1): 4651, (1, 1): 5970, (1, 0.5): 3195, (3, 0.25): 4749}


@pytest.mark.parametrize(
    ("levels", "fits"),
    [
        pytest.param([1, 2, 3, 4, 5], True, id="1 to 5, the released helper"),
        pytest.param([0, 1, 2, 3, 4, 5], True, id="0 to 5, the report"),
        pytest.param([0, 1, 2, 3, 4], False, id="0 to 4"),
        pytest.param([1, 2, 3, 4], False, id="1 to 4"),
        pytest.param([0, 0.25, 0.5, 0.75, 1], False, id="error rates of 4 samples"),
        pytest.param([k / 10 for k in range(11)], False, id="error rates of 10 samples"),
    ],
)
def test_which_levels_can_give_the_published_step_counts(levels: list[float], fits: bool) -> None:
    """Is there a number of examples per level with the four counts of steps in one epoch?

    The last step may be short, so a run of s steps holds more than (s - 1) batches
    and at most s.
    """
    rows: list[NDArray[Any]] = [np.ones(len(levels))]
    low, high = [EXAMPLES], [EXAMPLES]
    for (base, factor), steps in PUBLISHED_STEPS.items():
        rows.append(repeat_counts(levels, base=base, factor=factor))
        low.append(BATCH * (steps - 1) + 1)
        high.append(BATCH * steps)
    solution = milp(
        np.zeros(len(levels)),
        constraints=(np.array(rows), np.array(low), np.array(high)),
        integrality=np.ones(len(levels)),
        bounds=Bounds(0, EXAMPLES),
    )
    assert solution.success == fits


def test_one_set_of_levels_from_1_to_5_gives_the_published_step_counts() -> None:
    per_level = [30_229, 20_000, 17_139, 33_633, 67_809]
    levels = np.repeat([1, 2, 3, 4, 5], per_level).tolist()
    assert len(levels) == EXAMPLES
    for (base, factor), steps in PUBLISHED_STEPS.items():
        repeats = repeat_counts(levels, base=base, factor=factor)
        assert -(-int(repeats.sum()) // BATCH) == steps


@pytest.mark.parametrize(
    ("hardness", "pace", "start_fraction"),
    [
        ([3, 1, 2, 1], 1.0, [1, 0, 0.5, 0]),
        ([5, 5, 5], 0.5, [0, 0, 0]),
        ([0.5, 0.25], 0.2, [0.2, 0]),
        (list(range(20)), 0.9, [0, 0, *(0.05 * n for n in range(1, 19))]),
    ],
)
def test_start_fractions_by_hand(
    hardness: list[float], pace: float, start_fraction: list[float]
) -> None:
    assert start_fractions(hardness, pace=pace).tolist() == pytest.approx(start_fraction)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: repeat_counts([], base=1, factor=1), "levels: empty"),
        (
            lambda: repeat_counts([1, 3], base=2, factor=-1),
            "base=2, factor=-1: level 3 gives -1: expected 0 or more",
        ),
        (lambda: start_fractions([], pace=1.0), "hardness: empty"),
    ],
)
def test_errors_name_the_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
