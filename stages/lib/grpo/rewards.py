"""What an answer earns: for being right, and for the form that training teaches.

A right answer is one that the grader takes, whatever its form. The form is that of the
worked solutions: the text ends with "The answer is X.", said once, and the turn is ended.
"""

import re

from stages.lib.core.schema import Problem
from stages.lib.grading.grader import grade

_MARK = "The answer is "

_MORE = re.compile(r"[.!?]\s|\n")


def answer_reward(problem: Problem, text: str) -> float:
    """Return 1 for a right answer, 0 for any other."""
    verdict = grade(text, answer=problem.answer, kind=problem.kind, choices=problem.choices)
    return float(verdict.status == "correct")


def format_reward(text: str, *, ended: bool) -> float:
    """Return a half for saying the answer last and once, and a half for ending the turn."""
    return (_says_the_answer_last(text) + ended) / 2


def _says_the_answer_last(text: str) -> bool:
    _, _, said = text.partition(_MARK)
    said = said.strip()
    return said.strip(".") != "" and _MARK not in said and _MORE.search(said) is None
