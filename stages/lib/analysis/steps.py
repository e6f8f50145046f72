"""Does a text show its steps, and does it end with its answer?

A text states its answer where the grader finds one said ("The answer is 6303.", a box,
four hashes). It *ends with a stated answer* if nothing but punctuation follows. It *has
steps* if what stands before that answer, programs left out, holds

- an equation that computes, with an operation on one side and a value on the other
  (``125 * 45 = 5625``, ``47 = 5 * 9 + 2``), which the question does not have already, or
- at least two sentences or lines that name a number.

Whether the steps are right, the verdict on the answer says, and nothing here.
"""

import re

from stages.lib.grading.extraction import find_claim

_PROGRAM = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WORD, _DIGIT, _SPACE = re.compile(r"\w"), re.compile(r"\d"), re.compile(r"\s")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_VALUE = r"(?:\d[\d.,]*|[a-z]\b)[%)}]*\s*"
_SIGN = r"(?:[-+*/^×÷·−]|x(?=\s*\$?\d)|of\b|\\(?:times|div|cdot)\b)"
_OPEN = r"[-−(\[{$£€\s]*"
_EQUATION = re.compile(
    rf"(?:{_VALUE}{_SIGN}|\\[dt]?frac\b)[^=\n]{{0,80}}?={_OPEN}(?:{_VALUE}|\\[dt]?frac|\\sqrt)"
    rf"|{_VALUE}={_OPEN}(?:{_VALUE}{_SIGN}{_OPEN}{_VALUE}|\\[dt]?frac\b)",
    re.IGNORECASE,
)


def style(text: str, question: str) -> tuple[bool, bool]:
    """Return whether a text has steps, and whether it ends with a stated answer."""
    answer, rest = find_claim(text)
    if answer is None:
        return _has_steps(text, question), False
    before = text[: len(text) - len(rest)]
    before = before[: max(0, before.rfind(answer))]
    return _has_steps(before, question), _WORD.search(rest) is None


def _has_steps(before: str, question: str) -> bool:
    before = _PROGRAM.sub("\n", before)
    asked = _tight(question)
    if any(_tight(found[0]) not in asked for found in _EQUATION.finditer(before)):
        return True
    return sum(_DIGIT.search(part) is not None for part in _SENTENCE.split(before)) >= 2


def _tight(text: str) -> str:
    return _SPACE.sub("", text)
