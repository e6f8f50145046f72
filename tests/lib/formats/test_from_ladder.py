"""Ladder problems written as rows of every format, and read back."""

from dataclasses import asdict, replace
from functools import cache
from typing import get_args

import pytest

from stages.lib.core.schema import Problem
from stages.lib.data.ladder import RUNGS, ladder
from stages.lib.data.ladder_solutions import multiplication
from stages.lib.formats.from_ladder import from_ladder, joined, round_trip
from stages.lib.formats.rows import parse
from stages.lib.params.data import Format
from tests.lib.formats.test_read import SANDBOX
from tests.lib.formats.test_rows import conversation

FORMATS = get_args(Format)
PROBLEMS = ladder(list(RUNGS), per_rung=3, seed=4)


def plain(solution: str) -> str:
    """Return a solution without the box and the lines that a format asks for."""
    return " ".join(solution.replace("$\\boxed{", "").replace("}$", "").split())


@cache
def back(format: Format, *, bare: bool) -> list[Problem]:
    problems = PROBLEMS[:6] if format == "sharegpt" else PROBLEMS
    made = round_trip(
        problems, format=format, name="mini", target="problems", bare=bare, sandbox=SANDBOX
    )
    return made.problems


@pytest.mark.parametrize("format", FORMATS)
def test_a_problem_comes_back_with_its_answer_and_its_steps(format: Format) -> None:
    written_to = PROBLEMS if format != "sharegpt" else [PROBLEMS[0]]
    for before, after in zip(written_to, back(format, bare=False), strict=True):
        assert plain(after.solution) == before.solution
        for field in ("id", "source", "question", "answer", "kind", "level", "topic", "template"):
            assert getattr(after, field) == getattr(before, field)


@pytest.mark.parametrize("format", FORMATS)
def test_bare_rows_have_the_answer_alone(format: Format) -> None:
    for problem in back(format, bare=True):
        assert plain(problem.solution) == f"The answer is {problem.answer}."
        assert problem.program == ""


def test_only_two_formats_have_programs() -> None:
    for format in FORMATS:
        having = {problem.source for problem in back(format, bare=False) if problem.program}
        expected = {"mathinstruct": set(RUNGS), "gsm8k": set(RUNGS) - {"gcd"}}
        assert having == expected.get(format, set()), format


def test_the_programs_of_mathinstruct_are_the_ladders_own() -> None:
    programs = [problem.program for problem in back("mathinstruct", bare=False)]
    assert programs == [problem.program for problem in PROBLEMS]


@pytest.mark.parametrize("format", FORMATS)
def test_conversations(format: Format) -> None:
    made = round_trip(
        PROBLEMS[:7],
        format=format,
        name="mini",
        target="conversations",
        bare=False,
        sandbox=SANDBOX,
    )
    sizes = [len(one.turns) for one in made.conversations]
    expected = {"sharegpt": [1, 2, 3, 1], "mathinstruct": [1] * 14}
    assert sizes == expected.get(format, [1] * 7)
    assert {one.source for one in made.conversations} == {"mini"}
    asked = {
        turn.question.partition(" Let's")[0] for one in made.conversations for turn in one.turns
    }
    assert asked == {problem.question for problem in PROBLEMS[:7]}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bare", [False, True])
def test_rows_have_the_fields_of_the_format(format: Format, bare: bool) -> None:
    for row in from_ladder(PROBLEMS, format, bare=bare):
        assert not isinstance(parse(row, format).said(), str)


def test_rows_as_they_are_published() -> None:
    (drawn,) = ladder(["product-1x2"], per_rung=1, seed=1)
    problem = replace(drawn, **asdict(multiplication(7, 56)))
    assert from_ladder([problem], "mathinstruct", bare=False) == [
        {
            "source": "data/CoT/product-1x2.json",
            "instruction": "What is 7 * 56?",
            "output": problem.solution,
        },
        {
            "source": "data/PoT/product-1x2.json",
            "instruction": "What is 7 * 56? Let's write a program.",
            "output": problem.program,
        },
    ]
    (row,) = from_ladder([problem], "gsm8k", bare=False)
    assert row["answer"] == (
        "7 * 50 = <<7*50=350>>350.\n7 * 6 = <<7*6=42>>42.\n350 + 42 = <<350+42=392>>392.\n#### 392"
    )
    (row,) = from_ladder([problem], "math", bare=True)
    assert row["solution"] == "The answer is $\\boxed{392}$."
    two = conversation(joined([problem, problem], bare=True), format="sharegpt", name="mini")
    assert two is not None
    assert [turn.response for turn in two.turns] == ["The answer is 392."] * 2
