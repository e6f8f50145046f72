"""Parameters of generation, of the base model's samples, and of the difficulty they tell."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stages.lib.core.schema import Prompting
from stages.lib.params.base import Count, Positive, Seed, Share, Size, Strict


class Engine(Strict):
    """The generation engines, shared by sampling and evaluation: where, how many, their limits."""

    backend: Literal["local", "ray"]
    engines: Size
    tensor_parallel: Size
    cpus: Size

    kv_cache_gib: Size
    max_model_len: Size
    max_num_seqs: Size
    block_size: Annotated[int, Field(ge=16, multiple_of=16)]
    batch_size: Size


class Sandbox(Strict):
    """Limits on each program that a model wrote."""

    timeout_s: Positive
    memory_mb: Annotated[int, Field(ge=64)]
    workers: Size
    allow_unprotected: bool


class Sequential(Strict):
    """More rounds for problems whose posterior interval is wider than ``width``.

    The interval holds the probability ``interval``; a problem gets at most ``most`` samples.
    """

    width: Share
    interval: Share
    most: Size


class Sample(Strict):
    """Samples of the base model on the training problems, ``k`` of each prompting.

    With k = 0 there are none, and no difficulty. With ``sequential``, k are a round, and
    further rounds of reasoning may follow.
    """

    seed: Seed
    prompting: list[Prompting]
    k: Count
    sequential: Sequential | None
    shots: Count
    temperature: Annotated[float, Field(gt=0, le=2)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_tokens: Size

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


class Score(Strict):
    """From samples to difficulty."""

    definition: Literal["helper", "report", "rate"]
    levels: Annotated[int, Field(ge=1, le=100)]
    interval: Share
