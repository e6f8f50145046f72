"""A second opinion on answers: Math-Verify with its own extraction, within resource limits.

It reads the whole text, and shares nothing with ``stages.lib.grading.extraction``. So where the
two graders differ, one of them has misread an answer. Of multiple choice it reads a letter after
"answer" without parentheses, and no text of an option.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import NamedTuple

from stages.lib.core.schema import Problem
from stages.lib.grading.equivalence import Comparer, Equality
from stages.lib.grading.multiple_choice import letters_of

_VERDICTS: dict[Equality, bool | None] = {
    "equal": True,
    "different": False,
    "unreadable": False,
    "failed": None,
}


class TextAnswer(NamedTuple):
    """A text that answers a problem, its reference, and the letters of the problem's options."""

    text: str
    reference: str
    letters: str


def text_answer(text: str, problem: Problem) -> TextAnswer:
    """Return a text as an answer to its problem."""
    letters = letters_of(problem.choices) if problem.kind == "choice" else ""
    return TextAnswer(text, problem.answer, letters)


def grade_again(answers: Iterable[TextAnswer]) -> Iterator[bool | None]:
    """Yield whether each text has the right answer by Math-Verify; None where that failed.

    Comparisons run in as many processes as there are cores, and the results keep their order.
    """
    own = local()

    def graded(answer: TextAnswer) -> bool | None:
        if not hasattr(own, "comparer"):
            own.comparer = Comparer(os.getpid())
            comparers.append(own.comparer)
        return _VERDICTS[own.comparer.verify(*answer)]

    comparers: list[Comparer] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(graded, answers)
    for comparer in comparers:
        comparer.close()


def describe(verdict: bool | None) -> str:
    """Return a verdict in a word."""
    return "failed" if verdict is None else "correct" if verdict else "wrong"
