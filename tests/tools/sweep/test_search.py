"""The next point of a search."""

from math import log10
from typing import Any

import pytest

from tools.sweep import spec
from tools.sweep.search import next_point
from tools.sweep.spec import Search, Values

LR, RANK, PACKING = "train.learning_rate", "train.tuning.r", "train"


def wanted() -> Search:
    found = spec.load("search")
    assert isinstance(found, Search)
    return found


def loss(values: Values) -> float | None:
    """Return a loss that is lowest at 1e-3 and rank 16; rank 32 fails."""
    if values[RANK] == 32:
        return None
    return abs(log10(values[LR]) + 3) + (values[RANK] != 16)


def searched(count: int, tried: list[tuple[Values, float | None]]) -> list[Any]:
    tried = list(tried)
    while len(tried) < count:
        values = next_point(wanted(), tried)
        tried.append((values, loss(values)))
    return tried


def test_a_search_taken_up_asks_for_the_points_of_one_that_was_not_stopped() -> None:
    whole = searched(14, [])
    assert searched(14, whole[:5]) == whole
    assert len({str(values) for values, _ in whole}) == 14


def test_points_lie_in_their_ranges() -> None:
    search = wanted()
    for values, _ in searched(14, []):
        assert 0.0002 <= values[LR] <= 0.01
        assert 0 <= values["train.tuning.dropout"] <= 0.2
        assert values[PACKING] in sweep_choices(search, PACKING)
        assert values[RANK] in (4, 8, 16, 32)


def sweep_choices(search: Search, path: str) -> list[Any]:
    return search.parameters[path].tried()


def test_what_scored_well_is_tried_more_often_and_the_other_direction_turns_it() -> None:
    first = next_point(wanted(), [])
    tried = [
        (dict(first) | {LR: 0.0002 * 50 ** (place / 29)}, abs(place - 25.0)) for place in range(30)
    ]
    low = next_point(wanted(), tried)[LR]
    score = wanted().score.model_copy(update={"direction": "maximize"})
    high = next_point(wanted().model_copy(update={"score": score}), tried)[LR]
    assert low > 0.003
    assert high < 0.0006


def test_a_range_between_whole_numbers_gives_whole_numbers() -> None:
    search = wanted()
    whole = spec.Range(label="steps", low=3, high=9, log=False)
    search = search.model_copy(update={"parameters": {"train.steps": whole}})
    found = next_point(search, [])["train.steps"]
    assert isinstance(found, int)
    assert 3 <= found <= 9


@pytest.mark.parametrize("count", [3, 12])
def test_failed_trials_say_nothing_about_the_score(count: int) -> None:
    first = next_point(wanted(), [])
    assert next_point(wanted(), [(first, None)] * count) != first
