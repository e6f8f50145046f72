"""Ladder problems written as rows of every format, and read back."""

from dataclasses import asdict, replace
from functools import cache
from typing import get_args

import pytest

from stages.lib.core.schema import Problem
from stages.lib.data.ladder import RUNGS, sample_ladder
from stages.lib.data.ladder_solutions import multiplication
from stages.lib.formats.from_ladder import round_trip, write_conversation, write_rows
from stages.lib.formats.rows import parse
from stages.lib.params.data import Format
from tests.lib.formats.test_read import SANDBOX
from tests.lib.formats.test_rows import conversation

FORMATS = get_args(Format)
PROBLEMS = sample_ladder(list(RUNGS), per_rung=3, seed=4)


def without_markup(solution: str) -> str:
    """Return a solution without the box and the lines that a format asks for."""
    return " ".join(solution.replace("$\\boxed{", "").replace("}$", "").split())


@cache
def read_back(format: Format, *, bare: bool) -> list[Problem]:
    problems = PROBLEMS[:6] if format == "sharegpt" else PROBLEMS
    return round_trip(
        problems, format=format, name="mini", target="problems", bare=bare, sandbox=SANDBOX
    ).problems


@pytest.mark.parametrize("format", FORMATS)
def test_a_problem_comes_back_with_its_answer_and_its_steps(format: Format) -> None:
    originals = PROBLEMS if format != "sharegpt" else [PROBLEMS[0]]
    for before, after in zip(originals, read_back(format, bare=False), strict=True):
        assert without_markup(after.solution) == before.solution
        for field in ("id", "source", "question", "answer", "kind", "level", "topic", "template"):
            assert getattr(after, field) == getattr(before, field)


@pytest.mark.parametrize("format", FORMATS)
def test_bare_rows_have_the_answer_alone(format: Format) -> None:
    for problem in read_back(format, bare=True):
        assert without_markup(problem.solution) == f"The answer is {problem.answer}."
        assert problem.program == ""


def test_only_two_formats_have_programs() -> None:
    for format in FORMATS:
        sources = {problem.source for problem in read_back(format, bare=False) if problem.program}
        expected = {"mathinstruct": set(RUNGS), "gsm8k": set(RUNGS) - {"gcd"}}
        assert sources == expected.get(format, set()), format


def test_the_programs_of_mathinstruct_are_the_ladders_own() -> None:
    programs = [problem.program for problem in read_back("mathinstruct", bare=False)]
    assert programs == [problem.program for problem in PROBLEMS]


@pytest.mark.parametrize("format", FORMATS)
def test_conversations(format: Format) -> None:
    rows = round_trip(
        PROBLEMS[:7],
        format=format,
        name="mini",
        target="conversations",
        bare=False,
        sandbox=SANDBOX,
    )
    conversations = rows.conversations
    sizes = [len(row.turns) for row in conversations]
    expected = {"sharegpt": [1, 2, 3, 1], "mathinstruct": [1] * 14}
    assert sizes == expected.get(format, [1] * 7)
    assert {row.source for row in conversations} == {"mini"}
    questions = {
        turn.question.partition(" Let's")[0] for row in conversations for turn in row.turns
    }
    assert questions == {problem.question for problem in PROBLEMS[:7]}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("bare", [False, True])
def test_rows_have_the_fields_of_the_format(format: Format, bare: bool) -> None:
    for row in write_rows(PROBLEMS, format, bare=bare):
        assert not isinstance(parse(row, format).to_conversation(), str)


def test_rows_as_they_are_published() -> None:
    (sampled,) = sample_ladder(["product-1x2"], per_rung=1, seed=1)
    problem = replace(sampled, **asdict(multiplication(7, 56)))
    assert write_rows([problem], "mathinstruct", bare=False) == [
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
    (row,) = write_rows([problem], "gsm8k", bare=False)
    assert row["answer"] == (
        "7 * 50 = <<7*50=350>>350.\n7 * 6 = <<7*6=42>>42.\n350 + 42 = <<350+42=392>>392.\n#### 392"
    )
    (row,) = write_rows([problem], "math", bare=True)
    assert row["solution"] == "The answer is $\\boxed{392}$."
    parsed = conversation(
        write_conversation([problem, problem], bare=True), format="sharegpt", name="mini"
    )
    assert parsed is not None
    assert [turn.response for turn in parsed.turns] == ["The answer is 392."] * 2
