"""Divide the problems of a data set into sources, by which online arms mix."""

import re
from collections.abc import Sequence
from dataclasses import replace

from stages.lib.core.schema import Problem
from stages.lib.params.data import CellField

# Solutions of at least so many steps share a cell.
MOST_STEPS = 7

_NO_LETTERS = re.compile(r"[^a-z0-9]+")


def divide(problems: Sequence[Problem], by: Sequence[CellField]) -> list[Problem]:
    """Return the problems with sources such as ``math/algebra/level-3`` or ``gsm8k/4-steps``."""
    return [
        replace(problem, source="/".join([problem.source, *(_part(problem, name) for name in by)]))
        for problem in problems
    ]


def _part(problem: Problem, name: CellField) -> str:
    match name:
        case "topic":
            return _NO_LETTERS.sub("-", problem.topic.lower()).strip("-") or "no-topic"
        case "level":
            return "no-level" if problem.level is None else f"level-{problem.level}"
        case "steps":
            return f"{min(_count_steps(problem.solution), MOST_STEPS)}-steps"


def _count_steps(solution: str) -> int:
    """Return the number of lines of a solution, at least 1, without one that states the answer."""
    lines = [line for line in solution.splitlines() if line.strip()]
    return max(1, sum(1 for line in lines if not line.startswith("The answer is")))
