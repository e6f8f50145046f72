"""Verdicts: what a generation or a program answers, and whether that is right.

A verdict is about the final answer alone (``stages.lib.grading.extraction``). Numbers
compare as exact fractions, expressions by Math-Verify (``stages.lib.grading.equivalence``),
options by their letter. What could not be read, or compared in time, says so.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from stages.lib.core.schema import AnswerKind, Grade, Status
from stages.lib.grading import equivalence
from stages.lib.grading.extraction import (
    find_claim,
    find_expression,
    find_number,
    number_in_formula,
)
from stages.lib.grading.multiple_choice import find_option, letters_of
from stages.lib.grading.numbers import (
    Numeral,
    bare_numeral,
    parse_number,
    read_numeral,
    same_number,
    tidy,
)
from stages.lib.sandbox.pool import ProgramResult

KEPT = 1000
"""Characters of an extracted answer that a verdict keeps."""

FAILED: tuple[Status, ...] = ("unparsed", "timeout", "crashed", "refused")

_STATUS_OF: dict[equivalence.Equality, Status] = {
    "equal": "correct",
    "different": "wrong",
    "unreadable": "unparsed",
    "timeout": "timeout",
}
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z ,'-]*")
_MATHEMATICS = re.compile(r"[0-9\\√π]")
_PYTHON = ("python", "py", "python3")
_CODE = re.compile(
    r"\A\s*[A-Za-z_]\w*\s*=[^=]|^[ \t]*(?:print\s*\(|import \w|from [\w.]+ import |def \w+\s*\()",
    re.MULTILINE,
)
_ENTRY = re.compile(r"\s*'?[A-Za-z]\w*'?\s*[:=]\s*(?!=)")
# Numbers that print() set beside each other; a space is no thousands separator there.
_SEVERAL = re.compile(r"-?[0-9.]+(?:\s+-?[0-9.]+)+")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def grade(
    text: str, *, answer: str, kind: AnswerKind, choices: Sequence[str] | None = None
) -> Grade:
    """Grade a generation against the reference answer; no text makes it raise or hang.

    The status is ``correct``, ``wrong``, ``unparsed`` (no answer that can be
    read) or ``timeout`` (an expression too costly to compare).
    """
    if kind == "choice":
        return _verdict_on_option(find_option(text, choices), answer)
    if kind == "number":
        return _verdict_on_number(find_number(text), answer)
    return _verdict_on_expression(find_expression(text), answer)


def grade_program(
    result: ProgramResult, *, answer: str, kind: AnswerKind, choices: Sequence[str] | None = None
) -> Grade:
    """Grade a program by the last line that it printed.

    A value in a list, a set or a dictionary of one (``[3]``, ``{x: 3}``) or
    behind a name (``x = 3``) counts as that value; several values in brackets stay
    a list, of several beside each other the last one counts.
    A program that failed keeps its status, one that printed nothing is
    ``unparsed``.
    """
    if result.status != "ok":
        return Grade(extracted="", status=result.status)
    line = result.stdout.strip().rpartition("\n")[2].strip()
    if kind == "choice":
        return _verdict_on_option(find_option(line, choices), answer)
    printed = line.split()[-1] if _SEVERAL.fullmatch(line) else _unwrapped(line)
    if kind == "number":
        several = "," in printed and printed != line
        number = printed if several or read_numeral(printed) else find_number(line)
        return _verdict_on_number(number_in_formula(number), answer)
    claim, _ = find_claim(line)
    verdict = _verdict_on_expression(line if claim is None else find_expression(line), answer)
    if verdict.status == "correct" or printed == line:
        return verdict
    unwrapped = _verdict_on_expression(printed, answer)
    return unwrapped if unwrapped.status == "correct" else verdict


def program_in(text: str) -> str:
    """Return the program in a generation, or "" if there is none.

    It is the last complete fenced block of Python; else an unfinished one, to
    the end; else the text up to the first fence, if that looks like code.
    """
    parts = text.split("```")
    blocks = [_body(part) for part in parts[1::2]]
    unfinished = blocks.pop() if len(parts) % 2 == 0 else ""
    complete = [block for block in blocks if block]
    if complete or unfinished:
        return complete[-1] if complete else unfinished
    return parts[0].strip("\n") if _CODE.search(parts[0]) else ""


def check_answer(answer: str, kind: AnswerKind, choices: Sequence[str] | None = None) -> None:
    """Raise ValueError if a reference answer is not one that ``grade`` can compare with."""
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
    if _WORDS.fullmatch(_plain(answer)) or bare_numeral(answer):
        return True
    return equivalence.compare(answer, answer) == "equal"


def _verdict_on_option(option: tuple[str, str], answer: str) -> Grade:
    extracted, letter = option
    matched = letter if letter != extracted else ""
    status: Status = "unparsed"
    if letter:
        status = "correct" if letter == answer.strip().upper() else "wrong"
    return Grade(extracted=extracted[:KEPT], status=status, matched_option=matched)


def _verdict_on_number(candidate: str, answer: str) -> Grade:
    return Grade(extracted=candidate[:KEPT], status=_status_of_number(candidate, answer))


def _status_of_number(candidate: str, answer: str) -> Status:
    numeral = read_numeral(candidate)
    reference = _reference(answer)
    if numeral is not None and reference is not None:
        return "correct" if same_number(numeral, reference) else "wrong"
    if not _MATHEMATICS.search(candidate):
        return "unparsed"
    return _STATUS_OF[equivalence.compare(candidate, answer)]


def _verdict_on_expression(candidate: str, answer: str) -> Grade:
    return Grade(extracted=candidate[:KEPT], status=_status_of_expression(candidate, answer))


def _status_of_expression(candidate: str, answer: str) -> Status:
    ours, theirs = _plain(candidate), _plain(answer)
    if not ours or len(candidate) > KEPT:
        return "unparsed"
    if ours == theirs:
        return "correct"
    if _WORDS.fullmatch(theirs):
        return "correct" if ours.casefold() == theirs.casefold() else "wrong"
    reference = bare_numeral(answer)
    numeral = None if reference is None else read_numeral(candidate)
    if numeral is not None and reference is not None:
        return "correct" if same_number(numeral, reference) else "wrong"
    return _STATUS_OF[equivalence.compare(candidate, answer)]


@lru_cache(maxsize=4096)
def _reference(answer: str) -> Numeral | None:
    return read_numeral(answer)


def _plain(expression: str) -> str:
    """Return an expression without what has no meaning in it: spaces, dollars, a full stop."""
    return re.sub(r"[\s$]+", "", tidy(expression[:KEPT])).rstrip(".,")


def _body(fenced: str) -> str:
    """Return the program of a fenced block (a label, a newline, lines), or "" if it is none."""
    label, newline, lines = fenced.partition("\n")
    label = label.strip().lower()
    if newline and (label in _PYTHON or (not label and _CODE.search(lines))):
        return lines.rstrip()
    return ""


def _unwrapped(line: str) -> str:
    """Return the value within one-element containers and behind a name, or the list of several."""
    previous = None
    while line != previous:
        previous = line
        if _is_enclosed(line):
            line = line[1:-1].strip().removesuffix(",")
        named = _ENTRY.match(line)
        if named is not None and not _ENTRY.search(line, named.end()):
            line = line[named.end() :].strip()
    return line


def _is_enclosed(line: str) -> bool:
    if line[:1] not in _BRACKETS or len(line) > KEPT:
        return False
    depth = 0
    for place, character in enumerate(line):
        depth += (character in "[({") - (character in "])}")
        if depth == 0:
            return place == len(line) - 1 and character == _BRACKETS[line[0]]
    return False
