"""The answer that a reference solution states, told apart by kind.

A model's text is graded leniently (``stages.lib.grading.extraction``); what is to be graded against
has to be sure: a solution that only mentions numbers states none of them.
"""

import re
from dataclasses import dataclass

from stages.lib.core.schema import AnswerKind
from stages.lib.grading.extraction import find_claim, find_expression
from stages.lib.grading.multiple_choice import find_option
from stages.lib.grading.numbers import bare_numeral, first_number, read_numeral, tidy
from stages.lib.prompts.choices import split_choices

_PLAIN = re.compile(r"-?[0-9]+(?:[./][0-9]+)?")
_NAMED = re.compile(r"\A[A-Za-z]\s*=\s*(?=\S)")
# What makes a number part of an expression: ``3s^2`` and ``[3,4]`` are not 3 with a unit.
_MATHEMATICS = re.compile(r"[\\^_=\[\](){}|*]|\d[A-Za-z]\b")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class ReferenceAnswer:
    """An answer, its kind, and the choices if it is the letter of one of them."""

    answer: str
    kind: AnswerKind
    choices: list[str]


def find_answer(text: str, question: str) -> ReferenceAnswer | None:
    """Return the answer that a solution states, or None if it does not.

    It stands where ``stages.lib.grading.extraction`` finds a final answer, if it is in a box or no
    number follows it; else it is the only number of the last sentence, or the only one behind
    that sentence's last ``=``. Where the question shows choices it is the letter of one.
    """
    claim, behind = find_claim(text)
    if re.search(r"[0-9]", behind) and "\\boxed" not in text:
        claim = None
    choices = split_choices(question)
    if choices:
        letter = find_option(text, choices)[1] if claim is not None else ""
        return ReferenceAnswer(letter, "choice", choices) if letter else None
    stated = _only_number(text) if claim is None else find_expression(text)
    return as_answer(stated) if stated else None


def as_answer(text: str) -> ReferenceAnswer:
    """Return a bare answer as a number, if it comes to one, or as an expression.

    A number is spelled as it was, or plainly if it has a unit, separators or markup.
    """
    plain = text.strip()
    value = _NAMED.sub("", plain)
    numeral = bare_numeral(value) or (None if _MATHEMATICS.search(value) else read_numeral(value))
    if numeral is None:
        return ReferenceAnswer(plain, "expression", [])
    return ReferenceAnswer(value if _PLAIN.fullmatch(value) else str(numeral), "number", [])


def _only_number(text: str) -> str:
    line = text.strip().rpartition("\n")[2]
    result = tidy(_SENTENCE_END.split(line)[-1]).rpartition("=")[2]
    found = first_number(result)
    if found is None or found.numeral is None or len(re.findall(r"[0-9][0-9,.]*", result)) != 1:
        return ""
    return str(found.numeral)
