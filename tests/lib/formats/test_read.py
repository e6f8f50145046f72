"""Data sets as problems or conversations: merging, running programs, and counting the rest."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.schema import PublishedDifficulty
from stages.lib.formats.read import SourceRows, load_rows, parse_rows
from stages.lib.params.data import Format, Target
from stages.lib.params.sampling import SandboxLimits
from tests.lib.formats.test_rows import (
    GSM8K,
    MATHINSTRUCT,
    NUMINA,
    ORCA,
    PROGRAM,
    SHAREGPT,
    messages,
)

SANDBOX = SandboxLimits(timeout_s=5.0, memory_mb=256, workers=1, allow_unprotected=False)


def load(
    *rows: dict[str, Any],
    format: Format = "mathinstruct",
    target: Target = "problems",
    exclude: Sequence[str] = (),
) -> SourceRows:
    labeled = [(f"row {number}", row) for number, row in enumerate(rows, start=1)]
    return parse_rows(
        labeled, format=format, name="mine", target=target, exclude=exclude, sandbox=SANDBOX
    )


def reasoned(output: str, question: str = "How much is 4 + 6?") -> dict[str, Any]:
    return {"source": "data/CoT/gsm_train.json", "instruction": question, "output": output}


def coded(output: str, question: str = "How much is 4 + 6?") -> dict[str, Any]:
    cue = " Let's write a program."
    return {"source": "data/PoT/gsm_gpt4.json", "instruction": question + cue, "output": output}


class TestMathInstruct:
    def test_published_difficulty_stays_with_its_prompting(self) -> None:
        rows = [
            reasoned("4 + 6 = 10. The answer is 10") | {"err_rate": 0.25, "difficulty_level": 2},
            coded("print(4 + 6)") | {"err_rate": 1, "difficulty_level": 5},
            coded("print(2 + 6)", "How much is 2 + 6?") | {"err_rate": 0.5},
        ]
        both, neither = load(*rows).problems
        assert both.published == [
            PublishedDifficulty("cot", fail_rate=0.25, level=2),
            PublishedDifficulty("pot", fail_rate=1.0, level=5),
        ]
        assert neither.published == []

    def test_a_published_rate_is_a_share(self) -> None:
        with pytest.raises(ValueError, match=r"row 1: err_rate: 1.5: expected"):
            load(reasoned("4 + 6 = 10. The answer is 10") | {"err_rate": 1.5})

    @pytest.mark.parametrize("swapped", [False, True])
    def test_a_solution_and_a_program_of_one_question_become_one_problem(
        self, swapped: bool
    ) -> None:
        rows = [reasoned("4 + 6 = 10. The answer is 10"), coded("print(4 + 6)")]
        result = load(*(reversed(rows) if swapped else rows))
        (problem,) = result.problems
        assert (problem.question, problem.answer) == ("How much is 4 + 6?", "10")
        assert (problem.solution, problem.program) == (rows[0]["output"], "print(4 + 6)")
        assert problem.topic == "gsm_train"
        assert (result.n_rows, result.skipped, result.programs) == (2, {}, {"correct": 1})

    @pytest.mark.parametrize(
        ("program", "reason", "end"),
        [
            ("print(46)", "program disagrees", "wrong"),
            ("print(4 + six)", "program failed", "crashed"),
            ("import socket\nsocket.socket()", "program failed", "refused"),
            ("x = 4 + 6", "program failed", "unparsed"),
        ],
    )
    def test_a_program_that_does_not_agree_is_dropped(
        self, program: str, reason: str, end: str
    ) -> None:
        result = load(reasoned("The answer is 10"), coded(program))
        (problem,) = result.problems
        assert (problem.answer, problem.program) == ("10", "")
        assert (result.skipped, result.programs) == ({reason: 1}, {end: 1})

    @pytest.mark.parametrize(
        ("program", "question", "answer", "kind"),
        [
            ("print(4 + 6)", "4 + 6?", "10", "number"),
            ("print('working')\nprint([10.5])", "4 + 6.5?", "10.5", "number"),
            ("from sympy import pi\nprint(pi / 2)", "Half of pi?", "pi/2", "expression"),
            ("print(10)", "4 + 6?\nAnswer Choices: (A) 8 (B) 10", "B", "choice"),
        ],
    )
    def test_a_program_alone_gives_the_answer(
        self, program: str, question: str, answer: str, kind: str
    ) -> None:
        result = load(coded(program, question))
        (problem,) = result.problems
        assert (problem.answer, problem.kind, problem.program) == (answer, kind, program)
        assert (problem.question, problem.solution) == (question, "")
        assert result.programs == {"answered": 1}

    def test_a_program_alone_that_gives_none_is_counted(self) -> None:
        broken = coded("print(1 / 0)", "One through nothing?")
        silent = coded("x = 1", "One?")
        other = coded("print(7)", "Two?\nAnswer Choices: (A) 1 (B) 2")
        result = load(coded("print(10)"), broken, silent, other)
        assert len(result.problems) == 1
        assert result.skipped == {"program failed": 3}
        assert result.programs == {"answered": 1, "crashed": 1, "unparsed": 2}

    def test_more_rows_of_a_question_are_counted(self) -> None:
        first = reasoned("It is 10. The answer is 10")
        again = reasoned("6 + 4 = 10. The answer is 10")
        spaced = reasoned(first["output"], "How much  is 4 + 6?")
        result = load(first, again, spaced, first, coded("print(10)"), coded("print(9 + 1)"))
        (problem,) = result.problems
        assert (problem.solution, problem.program) == (first["output"], "print(10)")
        assert result.skipped == {"duplicate": 2, "another solution": 2}

    @pytest.mark.parametrize("name", ["theoremqa", "TheoremQA"])
    def test_sources_are_skipped_by_their_stem(self, name: str) -> None:
        theorem = PROGRAM | {"source": "data/PoT/TheoremQA.json"}
        result = load(MATHINSTRUCT, theorem, exclude=[name])
        assert [problem.answer for problem in result.problems] == ["B"]
        assert result.skipped == {"source": 1}

    def test_a_source_that_no_row_has(self) -> None:
        camel = reasoned("The answer is 1") | {"source": "data/CoT/math50k_camel.json"}
        message = (
            "exclude: 'camel_math': no row has that source; "
            "the sources are: aqua_rat, math50k_camel"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            load(MATHINSTRUCT, camel, exclude=["camel_math"])


def test_a_program_of_annotations_is_run() -> None:
    result = load(GSM8K, format="gsm8k")
    assert result.problems[0].program.endswith("print(step2)")
    assert (result.skipped, result.programs) == ({}, {"correct": 1})


def test_an_answer_that_cannot_be_compared_with() -> None:
    vague = NUMINA | {"problem": "Which?", "solution": "$\\boxed{\\text{a, b or } ( }$"}
    result = load(NUMINA, vague, format="numina")
    assert (len(result.problems), result.skipped) == (1, {"unreadable answer": 1})


def test_a_row_is_skipped_for_one_reason() -> None:
    vague, failed = reasoned("It is $\\boxed{\\text{a, b or } ( }$"), coded("print(4 + six)")
    result = load(reasoned("The answer is 1", "1?"), vague, failed)
    assert len(result.problems) == 1
    assert result.skipped == {"program failed": 1, "unreadable answer": 1}
    assert result.n_rows == 3


def test_conversations_are_not_judged() -> None:
    unsure = ORCA | {"answer": "2 of the 5."}
    result = load(ORCA, unsure, ORCA, format="orca-math", target="conversations")
    assert [row.turns[0].response for row in result.conversations] == [
        ORCA["answer"],
        unsure["answer"],
    ]
    assert (result.problems, result.n_rows, result.skipped) == ([], 3, {"duplicate": 1})


def test_an_unusable_conversation_is_counted() -> None:
    result = load(
        SHAREGPT,
        messages("human", "human"),
        messages("gpt"),
        format="sharegpt",
        target="conversations",
    )
    assert len(result.conversations) == 1
    assert len(result.conversations[0].turns) == 2
    assert result.skipped == {"turns out of order": 2}


def test_no_usable_row() -> None:
    message = "mine: no usable row among 2; skipped: {'several turns': 1, 'blank': 1}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load(SHAREGPT, messages("human", "gpt", value=""), format="sharegpt")


def test_files_are_read_as_one_and_a_malformed_row_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.jsonl"
    first.write_text(json.dumps([MATHINSTRUCT, reasoned("The answer is 10")]))
    second.write_text(json.dumps(coded("print(10)")))
    settings: dict[str, Any] = {
        "format": "mathinstruct",
        "name": "mine",
        "target": "problems",
        "exclude": [],
        "sandbox": SANDBOX,
    }
    result = load_rows([first, second], **settings)
    assert [(problem.answer, problem.program) for problem in result.problems] == [
        ("B", ""),
        ("10", "print(10)"),
    ]
    second.write_text(json.dumps(MATHINSTRUCT) + "\n" + json.dumps({"instruction": "2 + 2?"}))
    with pytest.raises(ValueError, match=r"b\.jsonl: row 2: output: missing .format mathinst"):
        load_rows([first, second], **settings)
