"""Read benchmarks, and the answers of every system to them."""

from collections.abc import Callable, Iterable, Iterator

from stages.lib.core.paths import ANSWERS, EVAL_PROBLEMS, FOLLOW_UPS
from stages.lib.core.schema import Generation, Problem, Prompting, system_name
from stages.lib.core.tables import read_parquet
from stages.lib.generations.store import Store

AnswerKey = tuple[str, str, Prompting, int]
"""A system, the id of a problem, the prompting, and the index of the answer."""


def answer_store(model: str) -> Store:
    """Return the store of a model's greedy answers, whose index is 0."""
    return Store(ANSWERS / model)


def sampled_store(model: str) -> Store:
    """Return the store of a model's sampled answers, which are counted from 1."""
    return Store(ANSWERS / model / "sampled")


def follow_up_store(model: str) -> Store:
    """Return the store of a model's replies to the follow-up question."""
    return Store(FOLLOW_UPS / model)


def read_benchmarks(names: Iterable[str]) -> dict[str, list[Problem]]:
    """Return the problems of each benchmark."""
    return {name: read_parquet(EVAL_PROBLEMS / f"{name}.parquet", Problem) for name in names}


def read_answers(
    models: Iterable[str], store_of: Callable[[str], Store] = answer_store
) -> Iterator[tuple[str, Generation]]:
    """Yield the answers of the models, each with the name of its system.

    ``store_of`` is ``answer_store`` for the greedy answers, ``sampled_store`` for the sampled.
    """
    for model in models:
        for row in store_of(model).rows():
            yield system_name(model, row.shots), row


def read_follow_ups(models: Iterable[str]) -> dict[AnswerKey, str]:
    """Return the models' replies to the follow-up question, by the answer that it followed."""
    return {
        (system_name(model, row.shots), row.problem_id, row.prompting, row.index): row.text
        for model in models
        for row in follow_up_store(model).rows()
    }
