"""What the demo offers and can grade: the models that are there, problems with known answers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem, content_id
from stages.lib.core.tables import read_parquet
from stages.lib.models.loading import WEIGHTS_PATTERN
from stages.lib.params.root import Params

OWN = "example"
QUESTION = "What is 125 * 45 + 678? Show your work."


@dataclass(frozen=True, slots=True)
class GradableProblem:
    """A problem whose answer is known, and how many tokens an answer to it may have."""

    benchmark: str
    problem: Problem
    max_tokens: int


def found_models(order: Iterable[str]) -> list[str]:
    """Return the names of the models that are there, those of ``order`` first."""
    found = {
        folder.name
        for folder in (MODELS.iterdir() if MODELS.is_dir() else ())
        if not folder.name.startswith(".") and any(folder.glob(WEIGHTS_PATTERN))
    }
    first = [name for name in order if name in found]
    return first + sorted(found.difference(first))


def known_problems(wanted: Params) -> dict[str, GradableProblem]:
    """Return what can be graded, by question: the page's own problem and the benchmarks'.

    A benchmark that was not prepared yet is left out. Raises ValueError for a damaged one.
    """
    known = {QUESTION: GradableProblem(OWN, _own(), wanted.demo.max_tokens)}
    for name, limit in wanted.evaluate.max_tokens.items():
        path = EVAL_PROBLEMS / f"{name}.parquet"
        for problem in read_parquet(path, Problem) if path.exists() else []:
            known.setdefault(problem.question.strip(), GradableProblem(name, problem, limit))
    return known


def examples(known: Mapping[str, GradableProblem], each: int) -> list[tuple[str, str]]:
    """Return (benchmark, question) pairs: up to ``each`` per benchmark, spread over it."""
    questions: dict[str, list[str]] = {}
    for question, one in known.items():
        questions.setdefault(one.benchmark, []).append(question)
    chosen = []
    for benchmark, members in questions.items():
        count = min(each, len(members))
        chosen += [(benchmark, members[i * len(members) // count]) for i in range(count)]
    return chosen


def validation_error(question: str, limit: int) -> str:
    """Return what is wrong with a question, or "" if it has 1 to ``limit`` characters."""
    if not question:
        return "Write a question first."
    if len(question) > limit:
        return f"The question has {len(question):,} characters; at most {limit:,} are possible."
    return ""


def _own() -> Problem:
    return Problem(
        id=content_id(OWN, QUESTION),
        source=OWN,
        question=QUESTION,
        answer="6303",
        kind="number",
        choices=[],
        solution="",
        program="",
        level=None,
        topic="mixed",
        template=OWN,
    )
