"""Sets of problems: read from local files, checked, split and sampled."""

from collections.abc import Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from stages.lib.core.schema import CHECKED, AnswerKind, NonEmpty, Problem, RowT, content_id
from stages.lib.core.tables import read_jsonl


def rng_for(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random state of a seed for a purpose, independent of those for others."""
    return np.random.default_rng([seed, int(content_id(*purpose), 16)])


def subsample(rows: Sequence[RowT], *, size: int, rng: np.random.Generator) -> list[RowT]:
    """Sample ``size`` rows without replacement and keep them in their order.

    Raises ValueError if there are fewer.
    """
    if size > len(rows):
        raise ValueError(f"size: {size}: expected at most {len(rows)}, the number of rows")
    chosen = rng.choice(len(rows), size, replace=False)
    return [rows[index] for index in sorted(chosen.tolist())]


def load_jsonl(path: Path) -> list[Problem]:
    """Read problems from a JSON Lines file.

    A line needs ``source``, ``question``, ``answer`` and ``kind``. Without an
    ``id`` it gets one from its source and question; ``template`` is the id and
    ``topic`` the source unless given. Raises ValueError naming the file and the
    line of a malformed row, and both lines of a duplicate id.
    """
    lines: dict[str, int] = {}
    problems = []
    for number, row in enumerate(read_jsonl(path, _LocalProblem), start=1):
        problem_id = row.id or content_id(row.source, row.question)
        if problem_id in lines:
            raise ValueError(
                f"{path}: lines {lines[problem_id]} and {number}: id {problem_id} twice"
            )
        lines[problem_id] = number
        filled: dict[str, Any] = {
            "id": problem_id,
            "topic": row.topic or row.source,
            "template": row.template or problem_id,
        }
        problems.append(Problem(**(asdict(row) | filled)))
    check_problems(problems, where=str(path))
    return problems


def check_problems(problems: Sequence[Problem], *, where: str) -> None:
    """Raise ValueError, beginning with ``where``, if the set of problems is not usable.

    It needs at least one problem, no duplicate id, no blank answer, and choices for every
    problem of the kind ``choice``.
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
            raise ValueError(f"{where}: {problem.id}: choices: none: expected some for this kind")


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
