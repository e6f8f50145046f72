"""The fixed questions of ``conf/questions.jsonl``: their answers are right."""

from collections import Counter

import pytest

from stages.lib.core.paths import CONF
from stages.lib.core.schema import Problem
from stages.lib.data.problems import load_jsonl
from tests.lib.data.test_ladder_solutions import printed_by, value_of

QUESTIONS = load_jsonl(CONF / "questions.jsonl")


@pytest.mark.parametrize("problem", QUESTIONS, ids=lambda problem: problem.id)
def test_solution_and_program_give_the_answer(problem: Problem) -> None:
    *steps, ending = problem.solution.removesuffix(".").split(". ")
    assert ending == f"The answer is {problem.answer}"
    for equation in steps:
        left, right = (value_of(side) for side in equation.split("="))
        assert left == right
    assert printed_by(problem.program) == problem.answer


def test_the_question_of_the_published_comparison_comes_first() -> None:
    assert QUESTIONS[0].question == "What is 125 * 45 + 678? Show your work."
    assert QUESTIONS[0].answer == "6303"


def test_every_source_can_be_resampled() -> None:
    # Problems are resampled inside their source, which takes two.
    assert min(Counter(problem.source for problem in QUESTIONS).values()) >= 2
