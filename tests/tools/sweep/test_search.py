"""The next point of a search."""

from math import log10

import pytest

from tests.tools.sweep.committed import committed
from tools.sweep.search import next_point
from tools.sweep.spec import Range, Sweep, Values

LR, RANK, PACKING = "train.learning_rate", "train.tuning.r", "train"
History = list[tuple[Values, float | None]]


@pytest.fixture(name="search")
def committed_search() -> Sweep:
    return committed("search")


def run_search(search: Sweep, count: int, history: History) -> History:
    """Extend the trials: the loss is lowest at 1e-3 and rank 16, and rank 32 fails."""
    history = list(history)
    while len(history) < count:
        values = next_point(search, history)
        loss = abs(log10(values[LR]) + 3) + (values[RANK] != 16)
        history.append((values, None if values[RANK] == 32 else loss))
    return history


def test_a_resumed_search_asks_for_the_same_points_within_their_ranges(search: Sweep) -> None:
    trials = run_search(search, 14, [])
    assert run_search(search, 14, trials[:5]) == trials
    assert len({str(values) for values, _ in trials}) == 14
    packings = [point["train"] for point in search.points()]
    for values, _ in trials:
        assert 0.0002 <= values[LR] <= 0.01
        assert 0 <= values["train.tuning.dropout"] <= 0.2
        assert values[PACKING] in packings
        assert values[RANK] in (4, 8, 16, 32)


def test_good_scores_attract_points_in_either_direction(search: Sweep) -> None:
    first = next_point(search, [])
    history = [
        (dict(first) | {LR: 0.0002 * 50 ** (index / 29)}, abs(index - 25.0)) for index in range(30)
    ]
    score = search.score.model_copy(update={"direction": "maximize"})
    assert next_point(search, history)[LR] > 0.003
    assert next_point(search.model_copy(update={"score": score}), history)[LR] < 0.0006


def test_a_range_between_integers_gives_integers(search: Sweep) -> None:
    steps = Range(low=3, high=9, log=False)
    search = search.model_copy(update={"ranges": {"train.steps": steps}})
    value = next_point(search, [])["train.steps"]
    assert isinstance(value, int)
    assert 3 <= value <= 9


@pytest.mark.parametrize("count", [3, 12])
def test_failed_trials_have_no_score(search: Sweep, count: int) -> None:
    first = next_point(search, [])
    assert next_point(search, [(first, None)] * count) != first
