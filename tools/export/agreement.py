"""How often two sets of answers to the same problems agree."""

from collections.abc import Sequence
from statistics import fmean

from stages.lib.core.schema import Problem
from stages.lib.grading.grader import solves


def is_correct(problems: Sequence[Problem], texts: Sequence[str]) -> list[bool]:
    """Return whether each text, an answer by CoT, is correct."""
    return [solves(problem, text) for problem, text in zip(problems, texts, strict=True)]


def agreement(
    problems: Sequence[Problem], texts: Sequence[str], others: Sequence[str]
) -> dict[str, float]:
    """Return the shares of problems with the same text, and with the same grade."""
    grades = zip(is_correct(problems, texts), is_correct(problems, others), strict=True)
    return {
        "same_text": fmean(a == b for a, b in zip(texts, others, strict=True)),
        "same_grade": fmean(a == b for a, b in grades),
    }
