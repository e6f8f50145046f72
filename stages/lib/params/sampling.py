"""Parameters of generation, of sampling the base model, and of difficulty."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from stages.lib.params.base import OpenUnit, ParamGroup, Promptings, Seed

Temperature = Annotated[float, Field(gt=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]

LevelDefinition = Literal["capped_floor", "floor", "fail_rate"]
"""How a level follows from a pass rate: `stages.lib.difficulty.posterior.level_of`."""


class EngineConfig(ParamGroup):
    """Number, placement and limits of the generation engines, for sampling and evaluation."""

    engines: PositiveInt
    tensor_parallel: PositiveInt
    cpus: PositiveInt

    kv_cache_gib: PositiveInt
    max_model_len: PositiveInt
    max_num_seqs: PositiveInt | None
    block_size: Annotated[int, Field(ge=16, multiple_of=16)]
    batch_size: PositiveInt
    queue: Literal["batch", "rolling"]
    batch_invariant: bool


class SandboxLimits(ParamGroup):
    """Limits of each model-written program."""

    timeout_s: PositiveFloat
    memory_mb: Annotated[int, Field(ge=64)]
    workers: PositiveInt | None
    allow_unprotected: bool


class Sequential(ParamGroup):
    """More rounds of samples for problems whose posterior interval is wider than ``width``.

    The interval has probability ``interval``; a problem gets at most ``max_k`` samples.
    """

    width: OpenUnit
    interval: OpenUnit
    max_k: PositiveInt


class Sample(ParamGroup):
    """Samples of the base model on the training problems, ``k`` of each prompting.

    Each prompting has a difficulty of its own; one that is not sampled has that of the other.
    With k = 0 there are no samples, and no difficulty but a published one. With
    ``sequential``, k samples are one round, and further rounds of chain-of-thought samples may
    follow.
    """

    seed: Seed
    prompting: Promptings
    k: NonNegativeInt
    sequential: Sequential | None
    shots: NonNegativeInt
    temperature: Temperature
    top_p: TopP
    max_tokens: PositiveInt

    @model_validator(mode="after")
    def _check_sequential(self) -> "Sample":
        if self.sequential is not None and "cot" not in self.prompting:
            raise ValueError(
                f"prompting: {self.prompting}: expected cot, which sequential sampling is for"
            )
        if self.sequential is not None and self.sequential.max_k <= self.k:
            raise ValueError(
                f"sequential.max_k: {self.sequential.max_k}: expected more than k={self.k}"
            )
        return self


class Score(ParamGroup):
    """Definition of difficulty levels, from samples or as published."""

    definition: LevelDefinition | Literal["published"]
    levels: Annotated[int, Field(ge=1, le=100)]
    interval: OpenUnit
