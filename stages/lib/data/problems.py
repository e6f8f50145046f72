"""Where problems come from: the arithmetic ladder, and local files.

The ladder runs from one-digit sums to products that a small model never gets
right. Its numbers come from the package reasoning-gym where it has the kind of
problem. ``stages.lib.data.packaged`` and ``stages.lib.data.sdat_suite`` read benchmarks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from stages.lib.core.schema import CHECKED, AnswerKind, NonEmpty, Problem, content_id
from stages.lib.core.tables import read_jsonl


def subsample(problems: Sequence[Problem], *, size: int, seed: int) -> list[Problem]:
    """Draw ``size`` problems without replacement and keep them in their order.

    Raises ValueError if there are fewer.
    """
    if size > len(problems):
        raise ValueError(f"size: {size}: expected at most the {len(problems)} problems there are")
    chosen = np.random.default_rng(seed).choice(len(problems), size, replace=False)
    return [problems[index] for index in sorted(chosen)]


def split_first(
    problems: Sequence[Problem], *, per_source: int
) -> tuple[list[Problem], list[Problem]]:
    """Return the first ``per_source`` problems of each source, and the rest, in their order."""
    seen: Counter[str] = Counter()
    first, rest = [], []
    for problem in problems:
        seen[problem.source] += 1
        (first if seen[problem.source] <= per_source else rest).append(problem)
    return first, rest


def load_jsonl(path: Path) -> list[Problem]:
    """Read problems that someone wrote down as JSON Lines.

    A line needs ``source``, ``question``, ``answer`` and ``kind``. Without an
    ``id`` it gets one from its source and question; ``template`` is the id and
    ``topic`` the source unless given. Raises ValueError naming the file and the
    line of a malformed row, and both lines of an id that comes twice.
    """
    lines: dict[str, int] = {}
    problems = []
    for number, row in enumerate(read_jsonl(path, _LocalProblem), start=1):
        identity = row.id or content_id(row.source, row.question)
        if identity in lines:
            raise ValueError(f"{path}: lines {lines[identity]} and {number}: id {identity} twice")
        lines[identity] = number
        filled: dict[str, Any] = {
            "id": identity,
            "topic": row.topic or row.source,
            "template": row.template or identity,
        }
        problems.append(Problem(**(asdict(row) | filled)))
    check_problems(problems, where=str(path))
    return problems


def check_problems(problems: Sequence[Problem], *, where: str) -> None:
    """Raise ValueError, beginning with ``where``, unless the problems make a usable set.

    That is: at least one problem, every id once, no blank answer, and choices
    for every problem of that kind.
    """
    if not problems:
        raise ValueError(f"{where}: no problems")
    seen = set()
    for problem in problems:
        if problem.id in seen:
            raise ValueError(f"{where}: id {problem.id} twice: {problem.question!r}")
        seen.add(problem.id)
        if not problem.answer.strip():
            raise ValueError(f"{where}: {problem.id}: answer: blank")
        if problem.kind == "choice" and not problem.choices:
            raise ValueError(f"{where}: {problem.id}: choices: none, expected them for this kind")


@dataclass(frozen=True, slots=True, config=CHECKED)
class _LocalProblem:
    source: NonEmpty
    question: NonEmpty
    answer: NonEmpty
    kind: AnswerKind
    id: str = ""
    choices: list[str] = field(default_factory=list)
    solution: str = ""
    program: str = ""
    level: int | None = None
    topic: str = ""
    template: str = ""


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random state that a seed gives for a purpose."""
    return np.random.default_rng([seed, int(content_id(*purpose), 16)])
