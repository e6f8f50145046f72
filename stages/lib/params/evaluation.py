"""Parameters of evaluation, of the statistics, and of what is made of them."""

from typing import Annotated

from pydantic import Field, field_validator

from stages.lib.params.base import (
    Name,
    NonNegativeInt,
    OpenUnit,
    ParamGroup,
    PositiveFloat,
    PositiveInt,
    Seed,
)

FEWEST_RUNS = 3

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Speed(ParamGroup):
    """The fixed workload that generation speed is measured on, and how many times."""

    prompts: PositiveInt
    tokens: PositiveInt
    repeats: PositiveInt


class Evaluate(ParamGroup):
    """Greedy answers of each model: the numbers of in-context examples to try, and limits."""

    models: Annotated[
        dict[Name, Annotated[list[NonNegativeInt], Field(min_length=1)]], Field(min_length=1)
    ]
    max_tokens: dict[Name, PositiveInt]
    held_out: Name
    speed: Speed

    def systems(self) -> list[str]:
        """Return the names of what is evaluated: a model, with its in-context examples."""
        return [
            system_name(model, shots)
            for model, all_shots in self.models.items()
            for shots in all_shots
        ]

    def shown(self, model: str) -> str:
        """Return the system that a model is shown as: with the fewest in-context examples."""
        return system_name(model, min(self.models[model]))


class Analyze(ParamGroup):
    """Grading and statistics.

    ``runs`` lists the systems that are several runs of one, with the seeds in one order;
    compared systems that both have some are compared by all of them, too.
    """

    seed: Seed
    draws: Annotated[int, Field(ge=100)]
    interval: OpenUnit
    compare: Annotated[list[Pair], Field(min_length=1)]
    runs: dict[Name, Annotated[list[str], Field(min_length=FEWEST_RUNS)]]

    @field_validator("runs")
    @classmethod
    def _are_as_many_of_each(cls, runs: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, of in runs.items():
            asked = len(next(iter(runs.values())))
            if len(of) != asked:
                raise ValueError(f"{name}: {len(of)} runs: expected {asked}, as the first has")
        return runs

    def pairs_of_runs(self) -> list[Pair]:
        """Return the compared pairs that both have several runs."""
        return [pair for pair in self.compare if set(pair) <= set(self.runs)]


class Figures(ParamGroup):
    """How figures look."""

    palette: str
    width_in: PositiveFloat
    dpi: Annotated[int, Field(ge=50)]


class Paper(ParamGroup):
    """The paper's title matter."""

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


def system_name(model: str, shots: int) -> str:
    """Return the name of a model with a number of in-context examples, as in ``base-4shot``."""
    return f"{model}-{shots}shot" if shots else model
