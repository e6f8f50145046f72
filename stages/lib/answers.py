"""Benchmarks, and every system's answers to them."""

from collections.abc import Iterable

from stages.lib.params import system_name
from stages.lib.paths import ANSWERS, EVAL_PROBLEMS
from stages.lib.records import Generation, Problem, read_parquet
from stages.lib.store import Store


def read_benchmarks(names: Iterable[str]) -> dict[str, list[Problem]]:
    """Return the problems of each benchmark."""
    return {name: read_parquet(EVAL_PROBLEMS / f"{name}.parquet", Problem) for name in names}


def read_answers(models: Iterable[str]) -> list[tuple[str, Generation]]:
    """Return the answers of the models, each with the name of the system that gave it."""
    return [
        (system_name(model, row.shots), row)
        for model in models
        for row in Store(ANSWERS / model).rows()
    ]
