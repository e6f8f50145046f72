"""Rewards of a completion: for a correct answer, and for the format that training teaches.

A correct answer is one that the grader accepts, in any format. The format is that of the
worked solutions: the text ends with "The answer is X.", written once, and then the turn ends.
"""

import re

from stages.lib.core.schema import Problem
from stages.lib.grading.grader import solves

_MARKER = "The answer is "

_NEXT_SENTENCE = re.compile(r"[.!?]\s|\n")


def answer_reward(problem: Problem, text: str) -> float:
    """Return 1 for a correct answer, 0 for any other."""
    return float(solves(problem, text))


def format_reward(text: str, *, ended: bool) -> float:
    """Return 0.5 for writing the answer last and once, plus 0.5 for ending the turn."""
    return (_ends_with_answer(text) + ended) / 2


def _ends_with_answer(text: str) -> bool:
    answer = text.partition(_MARKER)[2].strip()
    is_last = _NEXT_SENTENCE.search(answer) is None
    return answer.strip(".") != "" and _MARKER not in answer and is_last
