"""Parameters of evaluation, statistics, figures, paper, demo and publishing."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from stages.lib.params.base import Name, OpenUnit, ParamGroup, Promptings, Seed, check_unique
from stages.lib.params.sampling import Temperature, TopP

MIN_RUNS = 3
"""The fewest runs of an arm that are compared as runs."""

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


Shots = Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(check_unique)]


class Speed(ParamGroup):
    """The fixed workload of the speed measurement, and how often it is repeated."""

    prompts: PositiveInt
    tokens: PositiveInt
    repeats: PositiveInt


class AnswerSampling(ParamGroup):
    """How answers are sampled, and how many with each prompting to each problem."""

    samples: Annotated[int, Field(ge=2, le=1000)]
    temperature: Temperature
    top_p: TopP
    seed: Seed


class Evaluate(ParamGroup):
    """Answers of each model to the benchmarks: a greedy one and, if asked for, sampled ones.

    ``models`` lists the numbers of in-context examples of each model, ``prompting`` how each
    problem is answered, ``max_tokens`` the limit of each benchmark. ``held_out`` names the
    benchmark whose worked solutions perplexity is measured on.
    """

    models: Annotated[dict[Name, Shots], Field(min_length=1)]
    prompting: Promptings
    max_tokens: dict[Name, PositiveInt]
    sampling: AnswerSampling | None
    held_out: Name
    speed: Speed


class Analyze(ParamGroup):
    """Grading and statistics.

    ``discordance`` is the share of problems that exactly one of two systems is expected to solve:
    the difference that a benchmark can detect follows from it, before any answer.
    ``runs`` lists, by arm, the systems that are runs of it, in the same seed order.
    Two compared arms that both have runs are compared by all their runs, too.
    """

    seed: Seed
    draws: Annotated[int, Field(ge=100)]
    interval: OpenUnit
    discordance: OpenUnit
    compare: Annotated[list[Pair], Field(min_length=1)]
    runs: dict[Name, Annotated[list[str], Field(min_length=MIN_RUNS)]]

    @field_validator("runs")
    @classmethod
    def _have_equal_numbers_of_runs(cls, runs: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, systems in runs.items():
            n_runs = len(next(iter(runs.values())))
            if len(systems) != n_runs:
                raise ValueError(
                    f"{name}: {len(systems)} runs: expected {n_runs}, as the first has"
                )
        return runs


class Figures(ParamGroup):
    """How figures look."""

    palette: str
    width_in: PositiveFloat
    dpi: Annotated[int, Field(ge=50)]


class Paper(ParamGroup):
    """The paper's title, and how many problems the page's generation browser has."""

    title: str
    browser_problems: PositiveInt


class Push(ParamGroup):
    """Where models are published: ``repo-<model>`` on the Hugging Face Hub."""

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    private: bool


class Hub(ParamGroup):
    """The Hugging Face Hub, which ``python -m tools.publish`` sends models to."""

    push: Push | None


class Demo(ParamGroup):
    """The page of ``python -m tools.demo``."""

    port: Annotated[int, Field(ge=0, le=65535)]
    models_in_memory: Annotated[int, Field(ge=2)]
    max_characters: PositiveInt
    max_tokens: PositiveInt
    queue: PositiveInt
    examples: PositiveInt
