"""Results in the layout that the SDAT authors published: every generation with its verdict.

``<model>/results/<benchmark>-{cot,pot}.json`` holds a list of objects with the question,
the text that the model wrote (``output``), the reference (``gt``), the authors' extracted
answer (``ans``), whether their extraction or execution failed (``err``) and their verdict
(``correct``). https://github.com/tongyx361/sample-difficulty-adaptive-tuning
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from stages.lib.core.schema import PROMPTINGS, Problem, Prompting
from stages.lib.core.validation import describe_error
from stages.lib.data.sdat_suite import split_inline_choices
from stages.lib.prompts.templates import POT_CUE

IN_DOMAIN = ("gsm8k", "math", "aqua", "numglue")
OUT_OF_DOMAIN = (
    "mmlu_mathematics",
    "mmlu_physics",
    "mmlu_chemistry",
    "mmlu_biology",
    "sat",
    "deepmind",
    "svamp",
    "simuleq",
)
BENCHMARKS = IN_DOMAIN + OUT_OF_DOMAIN

_GRID = re.compile(r"-b(?P<b>\d+(?:\.\d+)?)-w(?P<w>\d+(?:\.\d+)?)(?=-|$)")
_STEPS = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class PublishedRow:
    """One generation with the authors' verdict; their other fields are ignored."""

    question: str
    output: str
    gt: str
    ans: str
    err: bool
    correct: bool
    matching_strategy: str = ""

    @property
    def retried(self) -> bool:
        """Whether the authors asked the model a second time, for the closest option."""
        return bool(self.matching_strategy)


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model of the grid: its name, its b and w (None: the baseline) and its steps."""

    name: str
    b: float | None
    w: float | None
    steps: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One generation of one model, and the problem that it answers."""

    model: PublishedModel
    benchmark: str
    prompting: Prompting
    problem: Problem
    row: PublishedRow


def parse_name(name: str) -> PublishedModel:
    """Read b, w and the number of optimizer steps from a model's name."""
    grid, steps = _GRID.search(name), _STEPS.search(name)
    return PublishedModel(
        name=name,
        b=float(grid["b"]) if grid else None,
        w=float(grid["w"]) if grid else None,
        steps=int(steps[1]) if steps else None,
    )


def read_results(folder: Path, on_skip: Callable[[str], object]) -> list[Case]:
    """Return every generation in a folder of results, by model and benchmark.

    Skips a model's benchmark if a file is missing, is damaged or has other problems than
    those of the first model, and a file of an unknown benchmark; ``on_skip`` gets a line on
    each. A benchmark that no model has is not expected. Raises ValueError without a model.
    """
    models = sorted(path.parent for path in folder.glob("*/results") if path.is_dir())
    if not models:
        raise ValueError(f"{folder}: no <model>/results in it")
    expected_names = {f"{benchmark}-{p}.json" for benchmark in BENCHMARKS for p in PROMPTINGS}
    names = {path.name for model in models for path in (model / "results").iterdir()}
    benchmarks = [b for b in BENCHMARKS if any(f"{b}-{p}.json" in names for p in PROMPTINGS)]
    problems: dict[str, list[Problem]] = {}
    cases = []
    for model in models:
        for path in sorted((model / "results").iterdir()):
            if path.name not in expected_names:
                on_skip(f"{path}: not a file of a known benchmark")
        for benchmark in benchmarks:
            try:
                cases += _read_benchmark(model, benchmark, problems)
            except (ValueError, OSError) as error:
                on_skip(str(error))
    return cases


def _read_benchmark(model: Path, benchmark: str, problems: dict[str, list[Problem]]) -> list[Case]:
    """Return a model's cases of a benchmark.

    ``problems`` has those of earlier files by benchmark, and gets those of a new one.
    """
    cases, parsed = [], parse_name(model.name)
    for prompting in PROMPTINGS:
        path = model / "results" / f"{benchmark}-{prompting}.json"
        rows = _read_rows(path)
        own = [_problem(benchmark, index, row) for index, row in enumerate(rows)]
        if problems.setdefault(benchmark, own) != own:
            raise ValueError(f"{path}: expected the problems of the other files of {benchmark}")
        cases += [
            Case(parsed, benchmark, prompting, problem, row)
            for problem, row in zip(own, rows, strict=True)
        ]
    return cases


def _problem(benchmark: str, index: int, row: PublishedRow) -> Problem:
    problem_id = f"{benchmark}/{index}"
    return Problem(
        **split_inline_choices(row.question.removesuffix(POT_CUE), row.gt),
        id=problem_id,
        source=benchmark,
        solution="",
        program="",
        level=None,
        topic=benchmark,
        template=problem_id,
    )


def _read_rows(path: Path) -> list[PublishedRow]:
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: missing") from None
    except ValueError as error:
        raise ValueError(f"{path}: not complete JSON: {error}") from error
    if not isinstance(values, list) or not values:
        raise ValueError(f"{path}: expected a list of rows")
    rows = []
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise ValueError(f"{path}: row {index}: {value!r}: expected an object")
        try:
            rows.append(PublishedRow(**value))
        except ValidationError as error:
            raise ValueError(f"{path}: row {index}: {describe_error(error, value)}") from error
    return rows
