"""Sources of problems by topic, level and steps."""

import pytest

from stages.lib.core.schema import Problem
from stages.lib.data.cells import divide
from stages.lib.params.data import CellField
from tests.rows import make_problem

PROBLEM = make_problem(
    "p",
    source="math",
    topic="Counting & Probability",
    level=3,
    solution="First.\n\nThen.\nThe answer is 4.",
)


@pytest.mark.parametrize(
    ("problem", "by", "source"),
    [
        (PROBLEM, ["topic", "level"], "math/counting-probability/level-3"),
        (PROBLEM, ["steps"], "math/2-steps"),
        (make_problem("p", topic="", level=None), ["topic", "level"], "sum/no-topic/no-level"),
        (make_problem("p", solution="The answer is 4."), ["steps"], "sum/1-steps"),
        (make_problem("p", solution="\n".join("abcdefghi")), ["steps"], "sum/7-steps"),
    ],
)
def test_a_source_names_the_cell(problem: Problem, by: list[CellField], source: str) -> None:
    (divided,) = divide([problem], by)
    assert divided.source == source
    assert (divided.id, divided.topic) == (problem.id, problem.topic)
