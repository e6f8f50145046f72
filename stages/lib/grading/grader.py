"""Grades of texts and of programs: the final answer, and whether it is correct.

Only the final answer is graded (``stages.lib.grading.extraction``). Numbers are compared
as exact fractions, expressions by Math-Verify (``stages.lib.grading.equivalence``), options
by their letter. An answer that cannot be read has a status of its own, and another one if it can
but the comparison fails.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from stages.lib.core.schema import AnswerKind, Grade, Problem, Status
from stages.lib.grading import equivalence
from stages.lib.grading.extraction import (
    find_expression,
    find_marked_answer,
    find_number,
    number_in_formula,
)
from stages.lib.grading.multiple_choice import find_option, letters_of
from stages.lib.grading.numbers import bare_numeral, parse_number, read_numeral, same_number, tidy
from stages.lib.sandbox.pool import ProgramResult

MAX_EXTRACTED = 1000
"""Characters of an extracted answer that a grade keeps."""

FAILED: tuple[Status, ...] = ("unparsed", "ungraded", "timeout", "crashed", "refused")
"""Statuses without an answer that was compared with the reference."""

_STATUS_OF: dict[equivalence.Equality, Status] = {
    "equal": "correct",
    "different": "wrong",
    "unreadable": "unparsed",
    "failed": "ungraded",
}
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z ,'-]*")
_MATHEMATICS = re.compile(r"[0-9\\√π]")
_PYTHON = ("python", "py", "python3")
_CODE = re.compile(
    r"\A\s*[A-Za-z_]\w*\s*=[^=]|^[ \t]*(?:print\s*\(|import \w|from [\w.]+ import |def \w+\s*\()",
    re.MULTILINE,
)
# A name before a value: ``x = 3``, ``'x': 3``.
_NAME = re.compile(r"\s*'?[A-Za-z]\w*'?\s*[:=]\s*(?!=)")
# The output of one print(): there a space separates values, not thousands.
_PRINTED_NUMBERS = re.compile(r"-?[0-9.]+(?:\s+-?[0-9.]+)+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}

# Many answers have the same reference.
_read_reference = lru_cache(maxsize=4096)(read_numeral)


def solves(problem: Problem, text: str) -> bool:
    """Return whether a text, an answer by CoT, has a problem's answer."""
    graded = grade(text, answer=problem.answer, kind=problem.kind, choices=problem.choices)
    return graded.status == "correct"


def grade(
    text: str, *, answer: str, kind: AnswerKind, choices: Sequence[str] | None = None
) -> Grade:
    """Grade a generation against the reference answer. No text makes this raise or hang.

    The status is ``correct``, ``wrong``, ``unparsed`` (no readable answer) or ``ungraded``
    (an expression that Math-Verify fails on, or takes too long to compare).
    """
    if kind == "choice":
        graded = _grade_option(find_option(text, choices), answer)
    elif kind == "number":
        graded = _grade_number(find_number(text), answer)
    else:
        graded = _grade_expression(find_expression(text), answer)
    return replace(graded, stated=find_marked_answer(text)[0] is not None)


def grade_program(
    result: ProgramResult, *, answer: str, kind: AnswerKind, choices: Sequence[str] | None = None
) -> Grade:
    """Grade a program by the last line that it printed.

    A value in a list, set or dictionary of one element (``[3]``, ``{x: 3}``) or after a
    name (``x = 3``) counts as the value itself. Several values in brackets are a list; of
    several numbers without brackets the last counts. A program that failed keeps its
    status; one that printed nothing is ``unparsed``.
    """
    if result.status != "ok":
        return Grade(extracted="", status=result.status)
    line = result.stdout.strip().rpartition("\n")[2].strip()
    if kind == "choice":
        return _grade_option(find_option(line, choices), answer)
    value = line.split()[-1] if _PRINTED_NUMBERS.fullmatch(line) else _unwrap(line)
    if kind == "number":
        is_list = "," in value and value != line
        number = value if is_list or read_numeral(value) else find_number(line)
        return _grade_number(number_in_formula(number), answer)
    # Brackets may belong to the answer, such as an interval: the line itself comes first.
    marked, _ = find_marked_answer(line)
    line_grade = _grade_expression(line if marked is None else find_expression(line), answer)
    if line_grade.status == "correct" or value == line:
        return line_grade
    value_grade = _grade_expression(value, answer)
    return value_grade if value_grade.status == "correct" else line_grade


def extract_program(text: str) -> str:
    """Return the program in a generation, or "" if there is none.

    It is the last complete fenced block of Python; else an unfinished block; else the
    text up to the first fence, if that looks like code.
    """
    parts = text.split("```")
    blocks = [_program_of_block(part) for part in parts[1::2]]
    # An even number of parts means that the last fence is never closed.
    unfinished = blocks.pop() if len(parts) % 2 == 0 else ""
    complete = [block for block in blocks if block]
    if complete or unfinished:
        return complete[-1] if complete else unfinished
    return parts[0].strip("\n") if _CODE.search(parts[0]) else ""


def normalize(expression: str) -> str:
    """Return an expression without spaces, dollars and a final full stop or comma."""
    return re.sub(r"[\s$]+", "", tidy(expression[:MAX_EXTRACTED])).rstrip(".,")


def check_answer(answer: str, kind: AnswerKind, choices: Sequence[str] | None = None) -> None:
    """Raise ValueError if ``grade`` cannot compare with a reference answer."""
    if kind == "choice":
        letters = letters_of(choices)
        if answer.strip().upper() not in list(letters):
            raise ValueError(f"answer: {answer!r}: expected a letter from A to {letters[-1]}")
    elif kind == "number":
        if parse_number(answer) is None:
            raise ValueError(f"answer: {answer!r}: expected a number")
    elif _status_of_expression(answer, answer) != "correct" or not _is_comparable(answer):
        raise ValueError(f"answer: {answer!r}: expected a mathematical expression or a word")


def _is_comparable(answer: str) -> bool:
    if _WORDS.fullmatch(normalize(answer)) or bare_numeral(answer):
        return True
    return equivalence.compare(answer, answer) == "equal"


def _grade_option(option: tuple[str, str], answer: str) -> Grade:
    extracted, letter = option
    matched = letter if letter != extracted else ""
    status: Status = "unparsed"
    if letter:
        status = "correct" if letter == answer.strip().upper() else "wrong"
    return Grade(extracted=extracted[:MAX_EXTRACTED], status=status, matched_option=matched)


def _grade_number(candidate: str, answer: str) -> Grade:
    return Grade(extracted=candidate[:MAX_EXTRACTED], status=_status_of_number(candidate, answer))


def _status_of_number(candidate: str, answer: str) -> Status:
    numeral = read_numeral(candidate)
    reference = _read_reference(answer)
    if numeral is not None and reference is not None:
        return "correct" if same_number(numeral, reference) else "wrong"
    if not _MATHEMATICS.search(candidate):
        return "unparsed"
    return _STATUS_OF[equivalence.compare(candidate, answer)]


def _grade_expression(candidate: str, answer: str) -> Grade:
    status = _status_of_expression(candidate, answer)
    return Grade(extracted=candidate[:MAX_EXTRACTED], status=status)


def _status_of_expression(candidate: str, answer: str) -> Status:
    text, expected = normalize(candidate), normalize(answer)
    if not text or len(candidate) > MAX_EXTRACTED:
        return "unparsed"
    if text == expected:
        return "correct"
    if _WORDS.fullmatch(expected):
        return "correct" if text.casefold() == expected.casefold() else "wrong"
    # Plain numbers need no computer algebra.
    reference = bare_numeral(answer)
    numeral = None if reference is None else read_numeral(candidate)
    if numeral is not None and reference is not None:
        return "correct" if same_number(numeral, reference) else "wrong"
    return _STATUS_OF[equivalence.compare(candidate, answer)]


def _program_of_block(block: str) -> str:
    """Return the program of a fenced block (label, newline, lines), or "" if it has none."""
    label, newline, lines = block.partition("\n")
    label = label.strip().lower()
    if newline and (label in _PYTHON or (not label and _CODE.search(lines))):
        return lines.rstrip()
    return ""


def _unwrap(line: str) -> str:
    """Return the line without enclosing brackets and without a name before a single value."""
    previous = None
    while line != previous:
        previous = line
        if _is_enclosed(line):
            line = line[1:-1].strip().removesuffix(",")
        name = _NAME.match(line)
        if name is not None and not _NAME.search(line, name.end()):
            line = line[name.end() :].strip()
    return line


def _is_enclosed(line: str) -> bool:
    """Return whether one pair of brackets encloses the whole line, unlike ``(1) + (2)``."""
    if line[:1] not in _BRACKETS or len(line) > MAX_EXTRACTED:
        return False
    depth = 0
    for position, character in enumerate(line):
        depth += (character in "[({") - (character in "])}")
        if depth == 0:
            return position == len(line) - 1 and character == _BRACKETS[line[0]]
    return False
