"""Find out whether an answer's text shows its steps and ends with its answer.

A text states its answer where the grader finds an answer marked as such ("The answer is
6303.", a box, four hashes). It *ends with a stated answer* if nothing but punctuation
follows. It *has steps* if the part before that answer, without programs, holds

- an equation that computes, with an operation on one side and a value on the other
  (``125 * 45 = 5625``, ``47 = 5 * 9 + 2``), which is not part of the question already, or
- at least two sentences or lines that contain a number.

Whether the steps are correct is not measured here.
"""

import re

from stages.lib.grading.extraction import find_marked_answer

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


def measure_style(text: str, question: str) -> tuple[bool, bool]:
    """Return whether a text has steps, and whether it ends with a stated answer."""
    answer, rest = find_marked_answer(text)
    if answer is None:
        return _has_steps(text, question), False
    before = text[: len(text) - len(rest)]
    before = before[: max(0, before.rfind(answer))]
    return _has_steps(before, question), _WORD.search(rest) is None


def _has_steps(text: str, question: str) -> bool:
    text = _PROGRAM.sub("\n", text)
    question = _without_spaces(question)
    equations = _EQUATION.finditer(text)
    if any(_without_spaces(equation[0]) not in question for equation in equations):
        return True
    return sum(_DIGIT.search(sentence) is not None for sentence in _SENTENCE.split(text)) >= 2


def _without_spaces(text: str) -> str:
    return _SPACE.sub("", text)
