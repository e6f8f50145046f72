"""Rows in the layouts that the data sets were published in, made by hand."""

import re
from dataclasses import replace
from typing import Any

import pytest

from stages.lib.core.schema import AnswerKind, Conversation, Problem, Turn, content_id
from stages.lib.formats.parsed import ParsedProblem, as_conversation, as_problem
from stages.lib.formats.rows import parse
from stages.lib.params.data import Format
from tests.rows import make_problem

MATHINSTRUCT = {
    "source": "data/CoT/aqua_rat.json",
    "instruction": "What is 2 + 2?\nAnswer Choices: (A) 3 (B) 4 (C) 5",
    "output": "Let's think about the multi-choice question.\n2 + 2 = 4\nThe answer is B.",
}
DIFFICULTY_AWARE = {
    "source": "data/CoT/gsm_rft.json",
    "instruction": "He has 3 pens and gets 4. How many?",
    "output": "He has 3 + 4 = 7 pens.\nThe answer is 7",
    "err_rate": 0.25,
    "difficulty_level": 2,
}
PROGRAM = {
    "source": "data/PoT/mathqa.json",
    "instruction": "The mean of 4 and 6? Let's write a Python program to solve it.",
    "output": "n0 = 4\nn1 = 6\nprint((n0 + n1) / 2)",
}
NUMINA = {
    "source": "cn_k12",
    "problem": "Simplify $\\frac{2}{4}$.",
    "solution": "Both have 2, so it is $\\boxed{\\frac{1}{2}}$.",
    "messages": [
        {"role": "user", "content": "Simplify $\\frac{2}{4}$."},
        {"role": "assistant", "content": "Both have 2, so it is $\\boxed{\\frac{1}{2}}$."},
    ],
}
TOOLS = {
    "problem": "What is $2^{10}$?",
    "solution": "```python\nprint(2**10)\n```\n```output\n1024\n```\nIt is \\(\\boxed{1024}\\).",
    "messages": [
        {"role": "user", "content": "What is $2^{10}$?"},
        {"role": "assistant", "content": "```python\nprint(2**10)\n```\n```output\n1024\n```"},
    ],
}
ORCA = {
    "question": "Tom has 4 bags of 6 apples. How many apples?",
    "answer": "Each bag has 6 apples.\n\nTherefore, Tom has 4 * 6 = 24 apples.",
}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "2 + 2?"},
        {"from": "gpt", "value": "The answer is 4."},
        {"from": "human", "value": "Twice that?"},
        {"from": "gpt", "value": "The answer is 8."},
    ],
    "source": "infini-instruct-top-500k",
    "score": 5.2,
}
GSM8K = {
    "question": "48 clips, then half as many. How many in all?",
    "answer": "Then 48/2 = <<48/2=24>>24.\nIn all 48+24 = <<48+24=72>>72.\n#### 72",
}
MATH = {
    "problem": "Find $x$ if $2x = \\pi$.",
    "level": "Level 2",
    "type": "Algebra",
    "solution": "Half of it: $x = \\boxed{\\frac{\\pi}{2}}$.",
}
ROWS: list[tuple[Format, dict[str, Any], str]] = [
    ("mathinstruct", MATHINSTRUCT, "output"),
    ("mathinstruct", PROGRAM, "source"),
    ("numina", NUMINA, "messages"),
    ("orca-math", ORCA, "answer"),
    ("sharegpt", SHAREGPT, "conversations"),
    ("gsm8k", GSM8K, "question"),
    ("math", MATH, "level"),
]


def problem(value: dict[str, Any], *, format: Format, name: str) -> Problem | None:
    parsed = parse(value, format).to_problem()
    if isinstance(parsed, str) or parsed.answer is None:
        return None
    return as_problem(parsed, parsed.answer, name)


def conversation(value: dict[str, Any], *, format: Format, name: str) -> Conversation | None:
    parsed = parse(value, format).to_conversation()
    return None if isinstance(parsed, str) else as_conversation(parsed, name)


@pytest.mark.parametrize(
    ("format", "row", "answer", "kind", "topic", "level"),
    [
        ("mathinstruct", MATHINSTRUCT, "B", "choice", "aqua_rat", None),
        ("mathinstruct", DIFFICULTY_AWARE, "7", "number", "gsm_rft", 2),
        ("numina", NUMINA, "0.5", "number", "cn_k12", None),
        ("numina", TOOLS, "1024", "number", "mine", None),
        ("orca-math", ORCA, "24", "number", "mine", None),
        ("gsm8k", GSM8K, "72", "number", "word problems", None),
        ("math", MATH, "\\frac{\\pi}{2}", "expression", "Algebra", 2),
        ("math", MATH | {"level": "Level ?"}, "\\frac{\\pi}{2}", "expression", "Algebra", None),
    ],
)
def test_a_row_as_a_problem(
    format: Format,
    row: dict[str, Any],
    answer: str,
    kind: AnswerKind,
    topic: str,
    level: int | None,
) -> None:
    question = row.get("instruction") or row.get("problem") or row["question"]
    parsed = problem(row, format=format, name="mine")
    assert parsed is not None
    assert replace(parsed, solution="", program="", published=[]) == make_problem(
        content_id("mine", question),
        source=topic if format in ("mathinstruct", "numina") else "mine",
        question=question,
        answer=answer,
        kind=kind,
        choices=["3", "4", "5"] if kind == "choice" else [],
        level=level,
        topic=topic,
    )


def test_a_solution_is_kept_as_it_is_but_for_the_marks_of_gsm8k() -> None:
    expected: list[tuple[Format, dict[str, Any], str, str]] = [
        ("math", MATH, MATH["solution"], ""),
        ("orca-math", ORCA, ORCA["answer"], ""),
        (
            "gsm8k",
            GSM8K,
            "Then 48/2 = 24.\nIn all 48+24 = 72.\nThe answer is 72.",
            "step1 = 48 / 2\nstep2 = 48 + step1\nprint(step2)",
        ),
    ]
    for format, row, solution, program in expected:
        parsed = problem(row, format=format, name="mine")
        assert parsed is not None
        assert (parsed.solution, parsed.program) == (solution, program)


@pytest.mark.parametrize(
    "cue",
    [
        " Let's write a program.",
        " Let's write a Python program.",
        " Let's write a Python program to solve it.",
        " Let's program in Python in the response.",
        "\nPlease write a program to solve it",
    ],
)
@pytest.mark.parametrize("fence", ["{}", "```python\n{}\n```"])
def test_a_program_stands_without_its_cue_and_its_fence(cue: str, fence: str) -> None:
    row = PROGRAM | {"instruction": f"Mean of 4 and 6?{cue}"}
    row["output"] = fence.format(PROGRAM["output"])
    assert parse(row, "mathinstruct").to_problem() == ParsedProblem(
        "Mean of 4 and 6?", None, "", PROGRAM["output"], None, "mathqa", "mathqa"
    )
    assert problem(row, format="mathinstruct", name="mine") is None


@pytest.mark.parametrize(
    ("format", "row", "system", "turns"),
    [
        ("mathinstruct", PROGRAM, "", [(PROGRAM["instruction"], PROGRAM["output"])]),
        ("numina", TOOLS, "", [tuple(message["content"] for message in TOOLS["messages"])]),
        ("orca-math", ORCA, "", [(ORCA["question"], ORCA["answer"])]),
        (
            "sharegpt",
            SHAREGPT,
            "Be brief.",
            [("2 + 2?", "The answer is 4."), ("Twice that?", "The answer is 8.")],
        ),
        ("math", MATH, "", [(MATH["problem"], MATH["solution"])]),
    ],
)
def test_a_row_as_a_conversation(
    format: Format, row: dict[str, Any], system: str, turns: list[tuple[str, str]]
) -> None:
    texts = [text for turn in turns for text in turn]
    assert conversation(row, format=format, name="mine") == Conversation(
        content_id("mine", system, *texts), "mine", system, [Turn(*turn) for turn in turns]
    )


def messages(*roles: str, value: str = "Well, 4.") -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": value} for role in roles]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (messages(), "turns out of order"),
        (messages("human"), "turns out of order"),
        (messages("system", "human"), "turns out of order"),
        (messages("gpt", "human"), "turns out of order"),
        (messages("human", "human", "gpt"), "turns out of order"),
        (messages("human", "gpt", "human"), "turns out of order"),
        (messages("human", "gpt", "system", "human"), "turns out of order"),
        (messages("human", "tool"), "turns out of order"),
        (messages("human", "gpt", value=" "), "blank"),
    ],
)
def test_an_unusable_conversation_says_why(row: dict[str, Any], reason: str) -> None:
    assert parse(row, "sharegpt").to_conversation() == reason
    assert conversation(row, format="sharegpt", name="mine") is None


@pytest.mark.parametrize(
    ("format", "row", "reason"),
    [
        ("sharegpt", SHAREGPT, "several turns"),
        ("sharegpt", messages("user", "assistant", value="No number."), "no answer"),
        ("numina", NUMINA | {"solution": "Proven."}, "no answer"),
        ("math", MATH | {"solution": "The answer is 4."}, "no answer"),
        ("gsm8k", GSM8K | {"answer": "It is 4."}, "no answer"),
        ("orca-math", ORCA | {"answer": "2 of 5."}, "no answer"),
        ("orca-math", ORCA | {"question": ""}, "blank"),
        ("mathinstruct", PROGRAM | {"output": "\n"}, "blank"),
    ],
)
def test_a_row_that_is_no_problem_says_why(
    format: Format, row: dict[str, Any], reason: str
) -> None:
    assert parse(row, format).to_problem() == reason
    assert problem(row, format=format, name="mine") is None


def test_a_blank_response_is_no_conversation() -> None:
    assert parse(ORCA | {"answer": " "}, "orca-math").to_conversation() == "blank"


def test_a_conversation_of_one_turn_is_a_problem() -> None:
    parsed = problem(messages("user", "assistant"), format="sharegpt", name="mine")
    assert parsed is not None
    assert (parsed.answer, parsed.solution) == ("4", "Well, 4.")


@pytest.mark.parametrize(("format", "row", "field"), ROWS)
def test_a_malformed_row_names_its_field(format: Format, row: dict[str, Any], field: str) -> None:
    without = {name: value for name, value in row.items() if name != field}
    with pytest.raises(ValueError, match=f"^{field}: missing .format {format}.$"):
        parse(without, format)
    with pytest.raises(ValueError, match=rf"^{field}.*: 0\.5: "):
        parse(row | {field: 0.5}, format)


def test_a_malformed_turn_names_its_place() -> None:
    row = {"conversations": [{"from": "human", "value": "2 + 2?"}, {"role": "gpt"}]}
    with pytest.raises(ValueError, match=re.escape("conversations.1.from: missing")):
        parse(row, "sharegpt")
