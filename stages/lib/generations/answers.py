"""Benchmarks, and every system's answers to them."""

from collections.abc import Iterable, Iterator

from stages.lib.core.paths import ANSWERS, EVAL_PROBLEMS
from stages.lib.core.schema import Generation, Problem, Prompting
from stages.lib.core.tables import read_parquet
from stages.lib.generations.store import Store
from stages.lib.params.evaluation import system_name

AnswerKey = tuple[str, str, Prompting]
"""A system, the id of a problem, and the prompting."""


def answer_store(model: str) -> Store:
    """Return where a model's answers are kept."""
    return Store(ANSWERS / model)


def follow_up_store(model: str) -> Store:
    """Return where a model's replies to the closest-option question are kept."""
    return Store(ANSWERS / model / "closest_option")


def read_benchmarks(names: Iterable[str]) -> dict[str, list[Problem]]:
    """Return the problems of each benchmark."""
    return {name: read_parquet(EVAL_PROBLEMS / f"{name}.parquet", Problem) for name in names}


def read_answers(models: Iterable[str]) -> Iterator[tuple[str, Generation]]:
    """Yield the answers of the models, each with the name of the system that gave it."""
    for model in models:
        for row in answer_store(model).rows():
            yield system_name(model, row.shots), row


def read_follow_ups(models: Iterable[str]) -> dict[AnswerKey, str]:
    """Return what the models replied to the closest-option question, where it was asked."""
    return {
        (system_name(model, row.shots), row.problem_id, row.prompting): row.text
        for model in models
        for row in follow_up_store(model).rows()
    }
