"""The fixed questions of ``conf/questions.jsonl``: their answers are right."""

from collections import Counter
from pathlib import Path

import pytest

from stages.lib.core.schema import Problem
from stages.lib.data.problems import load_jsonl
from tests.lib.data.test_ladder_solutions import printed_by, value_of

QUESTIONS = load_jsonl(Path(__file__).parents[2] / "conf" / "questions.jsonl")


@pytest.mark.parametrize("one", QUESTIONS, ids=lambda one: one.id)
def test_solution_and_program_come_to_the_answer(one: Problem) -> None:
    *steps, ending = one.solution.removesuffix(".").split(". ")
    assert ending == f"The answer is {one.answer}"
    for equation in steps:
        sides = [value_of(side) for side in equation.split("=")]
        assert len(sides) == 2
        assert sides[0] == sides[1]
    assert printed_by(one.program) == one.answer


def test_the_question_of_the_published_comparison_comes_first() -> None:
    assert QUESTIONS[0].question == "What is 125 * 45 + 678? Show your work."
    assert QUESTIONS[0].answer == "6303"


def test_every_source_has_a_spread() -> None:
    # Problems are resampled inside their source, which takes two.
    assert min(Counter(one.source for one in QUESTIONS).values()) >= 2
