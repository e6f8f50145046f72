"""Parameters of generation, of the base model's samples, and of the difficulty they tell."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from stages.lib.core.schema import Prompting
from stages.lib.params.base import OpenUnit, ParamGroup, Seed


class EngineConfig(ParamGroup):
    """The generation engines, shared by sampling and evaluation: where, how many, their limits."""

    backend: Literal["local", "ray"]
    engines: PositiveInt
    tensor_parallel: PositiveInt
    cpus: PositiveInt

    kv_cache_gib: PositiveInt
    max_model_len: PositiveInt
    max_num_seqs: PositiveInt
    block_size: Annotated[int, Field(ge=16, multiple_of=16)]
    batch_size: PositiveInt


class SandboxLimits(ParamGroup):
    """Limits on each program that a model wrote."""

    timeout_s: PositiveFloat
    memory_mb: Annotated[int, Field(ge=64)]
    workers: PositiveInt
    allow_unprotected: bool


class Sequential(ParamGroup):
    """More rounds for problems whose posterior interval is wider than ``width``.

    The interval holds the probability ``interval``; a problem gets at most ``most`` samples.
    """

    width: OpenUnit
    interval: OpenUnit
    most: PositiveInt


class Sample(ParamGroup):
    """Samples of the base model on the training problems, ``k`` of each prompting.

    With k = 0 there are none, and no difficulty. With ``sequential``, k are a round, and
    further rounds of reasoning may follow.
    """

    seed: Seed
    prompting: list[Prompting]
    k: NonNegativeInt
    sequential: Sequential | None
    shots: NonNegativeInt
    temperature: Annotated[float, Field(gt=0, le=2)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_tokens: PositiveInt

    @field_validator("prompting")
    @classmethod
    def _tells_difficulty(cls, prompting: list[Prompting]) -> list[Prompting]:
        if "cot" not in prompting or len(set(prompting)) < len(prompting):
            raise ValueError("expected cot, which difficulty is measured on, and nothing twice")
        return prompting

    @model_validator(mode="after")
    def _has_more_than_a_round(self) -> "Sample":
        if self.sequential is not None and self.sequential.most <= self.k:
            raise ValueError(
                f"sequential.most: {self.sequential.most}: expected more than k={self.k}"
            )
        return self


class Score(ParamGroup):
    """From samples to difficulty."""

    definition: Literal["capped_floor", "floor", "fail_rate"]
    levels: Annotated[int, Field(ge=1, le=100)]
    interval: OpenUnit
