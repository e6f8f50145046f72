"""Streams of examples by the weights of their cells."""

from itertools import islice

import numpy as np
import pytest

from stages.lib.mixing.cells import group_by_cell
from stages.lib.mixing.stream import CellQueues
from tests.rows import make_example

CELLS = [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9]]


def draw(queues: CellQueues, weights: list[float], n: int, seed: int = 0) -> list[int]:
    return list(islice(queues.stream(np.array(weights), np.random.default_rng(seed)), n))


@pytest.mark.parametrize("weights", [[1, 1, 1], [3, 0.5, 1], [1, 0, 0.25]])
def test_a_cell_gets_its_share_of_any_stretch_to_within_one_example(weights: list[float]) -> None:
    stream = draw(CellQueues(CELLS, seed=1), weights, 300)
    share = np.array([len(cell) for cell in CELLS]) * weights
    share = share / share.sum()
    for end in (10, 77, 300):
        counts = [sum(example in cell for example in stream[:end]) for cell in CELLS]
        assert np.abs(counts - share * end).max() <= 1.5


def test_equal_weights_show_every_example_once_an_epoch() -> None:
    stream = draw(CellQueues(CELLS, seed=1), [1, 1, 1], 100)
    for cell in CELLS:
        own = [example for example in stream if example in cell]
        for start in range(0, len(own) - len(cell), len(cell)):
            assert sorted(own[start : start + len(cell)]) == cell


def test_what_was_shown_but_not_taken_comes_again() -> None:
    queues = CellQueues(CELLS, seed=1)
    first = draw(queues, [1, 1, 1], 10)
    assert draw(queues, [1, 1, 1], 10) == first
    queues.take(first[:3])
    again = draw(queues, [1, 1, 1], 10)
    for cell in CELLS:
        before = [example for example in first if example in cell and example not in first[:3]]
        assert [example for example in again if example in cell][: len(before)] == before


def test_phases_are_random() -> None:
    firsts = {draw(CellQueues(CELLS, seed=1), [1, 1, 1], 1, seed)[0] for seed in range(20)}
    assert len(firsts) > 1


def test_a_cell_without_an_example_and_weights_without_one_above_0_are_refused() -> None:
    with pytest.raises(ValueError, match="^cells: cell 1: no example: "):
        CellQueues([[0], []], seed=1)
    with pytest.raises(ValueError, match="^weights: all 0: "):
        draw(CellQueues(CELLS, seed=1), [0, 0, 0], 1)


def test_a_cell_is_a_source_and_a_prompting() -> None:
    names = [("b", "cot"), ("a", "pot"), ("a", "cot"), ("b", "cot")]
    cells = group_by_cell(
        [
            make_example("p", source=source, prompting=prompting).info()
            for source, prompting in names
        ]
    )
    assert cells.names == [("a", "cot"), ("a", "pot"), ("b", "cot")]
    assert cells.members == [[2], [1], [0, 3]]
    assert cells.cell_of == [2, 1, 0, 2]
