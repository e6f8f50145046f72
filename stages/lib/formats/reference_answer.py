"""Find the answer that a reference solution states, and its kind.

A model's text is graded leniently (``stages.lib.grading.extraction``). A reference answer has
to be certain: a solution that only mentions numbers states no answer.
"""

import re
from dataclasses import dataclass

from stages.lib.core.schema import AnswerKind
from stages.lib.grading.extraction import find_expression, find_marked_answer
from stages.lib.grading.multiple_choice import find_option
from stages.lib.grading.numbers import bare_numeral, first_number, read_numeral, tidy
from stages.lib.prompts.choices import split_choices

_PLAIN = re.compile(r"-?[0-9]+(?:[./][0-9]+)?")
_ASSIGNMENT = re.compile(r"\A[A-Za-z]\s*=\s*(?=\S)")
# What makes a number part of an expression: ``3s^2`` and ``[3,4]`` are not 3 with a unit.
_MATHEMATICS = re.compile(r"[\\^_=\[\](){}|*]|\d[A-Za-z]\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class ReferenceAnswer:
    """An answer, its kind, and the choices if the answer is the letter of one of them."""

    answer: str
    kind: AnswerKind
    choices: list[str]


def find_answer(text: str, question: str) -> ReferenceAnswer | None:
    """Return the answer that a solution states, or None if it states none.

    It is the final answer that ``stages.lib.grading.extraction`` finds, if it is in a box or no
    number follows it. Otherwise it is the only number of the last sentence, or the only one
    after the last ``=`` of that sentence. If the question shows choices, it is the letter of one.
    """
    marked, rest = find_marked_answer(text)
    # A number after the mark may be the true answer, unless a box leaves no doubt.
    if re.search(r"[0-9]", rest) and "\\boxed" not in text:
        marked = None
    choices = split_choices(question)
    if choices:
        letter = find_option(text, choices)[1] if marked is not None else ""
        return ReferenceAnswer(letter, "choice", choices) if letter else None
    answer = _only_number(text) if marked is None else find_expression(text)
    return as_answer(answer) if answer else None


def as_answer(text: str) -> ReferenceAnswer:
    """Return a bare answer as a number, if its text has a numeric value, else as an expression.

    A number keeps its spelling; with a unit, separators or markup it is spelled plainly.
    """
    plain = text.strip()
    value = _ASSIGNMENT.sub("", plain)
    numeral = bare_numeral(value) or (None if _MATHEMATICS.search(value) else read_numeral(value))
    if numeral is None:
        return ReferenceAnswer(plain, "expression", [])
    return ReferenceAnswer(value if _PLAIN.fullmatch(value) else str(numeral), "number", [])


def _only_number(text: str) -> str:
    line = text.strip().rpartition("\n")[2]
    result = tidy(_SENTENCE_END.split(line)[-1]).rpartition("=")[2]
    number = first_number(result)
    if number is None or number.numeral is None or len(re.findall(r"[0-9][0-9,.]*", result)) != 1:
        return ""
    return str(number.numeral)
