"""Grades of many answers, and follow-up questions about unmatched ones."""

from collections.abc import Iterator

import pytest

from stages.lib.core.schema import Prompting
from stages.lib.grading import batch, programs
from stages.lib.grading.batch import Submission, grade_batch, unmatched_answer
from stages.lib.params.sampling import SandboxLimits
from stages.lib.sandbox.pool import ProgramResult

LIMITS = SandboxLimits(timeout_s=10, memory_mb=512, workers=1, allow_unprotected=False)


def choice(text: str, prompting: Prompting = "cot", reply: str | None = None) -> Submission:
    return Submission(text, prompting, answer="B", kind="choice", choices=["3", "4"], reply=reply)


def test_unmatched_answers_get_a_follow_up_question() -> None:
    quoted: list[tuple[Prompting, str, str | None]] = [
        ("cot", "It is four.\nThe answer is 5.", "5"),
        ("cot", "Let me think\nabout it", "about it"),
        ("cot", "The answer is (A).", None),
        ("cot", "", ""),
        ("pot", "```python\nprint(2 + 3)\n```", "5"),
        ("pot", "```python\nprint('B')\n```", None),
        ("pot", "```python\nprint(undefined)\n```", None),
        ("pot", "```python\nx = 5\n```", None),
        ("pot", "I would rather not.", None),
    ]
    answers = [choice(text, prompting) for prompting, text, _ in quoted]
    graded = grade_batch(answers, LIMITS)
    assert list(map(unmatched_answer, answers, graded)) == [answer for *_, answer in quoted]


@pytest.mark.parametrize(
    ("text", "reply", "status", "option_source"),
    [
        ("The answer is 5.", "The closest option is (B).", "correct", "follow_up"),
        ("The answer is 5.", "The answer is (A).", "wrong", "follow_up"),
        ("The answer is 5.", "None of them.", "wrong", "first_option"),
        ("The answer is (A).", "The answer is (B).", "wrong", ""),
        ("The answer is 5.", None, "unparsed", ""),
    ],
)
def test_a_reply_replaces_an_unmatched_answer(
    text: str, reply: str | None, status: str, option_source: str
) -> None:
    (graded,) = grade_batch([choice(text, reply=reply)], LIMITS)
    assert (graded.grade.status, graded.option_source) == (status, option_source)


def test_a_program_runs_once_and_grades_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[str] = []

    def run(texts: list[str], **_: object) -> list[ProgramResult]:
        executed.extend(texts)
        return [ProgramResult("ok", text[6:-1], "", 0.0) for text in texts]

    monkeypatch.setattr(programs, "run_programs", run)
    monkeypatch.setattr(batch, "CHUNK_SIZE", 2)
    texts = [f"```python\nprint({number})\n```" for number in (4, 5, 5, 4, 6)]
    answers = [Submission(text, "pot", "4", "number", []) for text in texts]
    answers.insert(3, Submission("2 + 2 = 4. The answer is 4.", "cot", "4", "number", []))
    graded = list(grade_batch(iter(answers), LIMITS))
    assert executed == ["print(4)", "print(5)", "print(6)"]
    assert [row.output for row in graded] == ["4", "5", "5", "", "4", "6"]
    assert [row.grade.extracted for row in graded] == ["4", "5", "5", "4", "4", "6"]
    correct = [row.grade.status == "correct" for row in graded]
    assert correct == [True, False, False, True, True, False]


def test_answers_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK_SIZE", 2)
    read: list[int] = []

    def answers() -> Iterator[Submission]:
        for number in range(5):
            read.append(number)
            yield Submission("The answer is 4.", "cot", "4", "number", [])

    next(grade_batch(answers(), LIMITS))
    assert read == [0, 1]
