"""Parameters of reinforcement learning with GRPO."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from stages.lib.core.schema import UnitInterval
from stages.lib.params.base import Name, OpenUnit, ParamGroup, Seed
from stages.lib.params.training import AdapterTuning, Schedule, Trackers, Tuning

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rewards(ParamGroup):
    """Reward of a correct answer, and of the answer format that training teaches."""

    answer: Weight
    format: Weight

    @model_validator(mode="after")
    def _check_total(self) -> "Rewards":
        if self.answer + self.format == 0:
            raise ValueError("expected answer or format above 0")
        return self


class GrpoModel(ParamGroup):
    """One model to train: its parent (``base`` or an arm), seed and tuning.

    ``zero_variance_weight`` is the probability of drawing a problem with a pass rate of 0 or 1,
    relative to one in between. All answers to the former tend to get the same reward, and then
    their advantages are 0.
    """

    parent: Name
    seed: Seed
    tuning: Tuning
    zero_variance_weight: UnitInterval

    @model_validator(mode="after")
    def _check_dropout(self) -> "GrpoModel":
        if isinstance(self.tuning, AdapterTuning) and self.tuning.dropout:
            raise ValueError(
                f"tuning.dropout: {self.tuning.dropout}: expected 0.0, as the model that is "
                "trained generates the answers"
            )
        return self


class Grpo(ParamGroup):
    """The models to train with GRPO, and the settings that they share.

    A round generates ``generations`` answers to each of ``prompts_per_step`` problems, and takes
    ``iterations`` optimizer steps on them, each in ``micro_batches``. ``beta`` weights the KL
    divergence from the parent, ``epsilon`` clips probability ratios, ``gpu_memory_share`` is
    vLLM's share of a GPU.
    """

    models: dict[Name, GrpoModel]
    steps: PositiveInt
    prompts_per_step: PositiveInt
    generations: Annotated[int, Field(ge=2)]
    iterations: PositiveInt
    micro_batches: PositiveInt
    max_tokens: PositiveInt
    temperature: Annotated[float, Field(gt=0, le=2)]
    rewards: Rewards
    beta: PositiveFloat
    epsilon: OpenUnit
    learning_rate: PositiveFloat
    schedule: Schedule
    warmup_steps: NonNegativeInt
    max_grad_norm: PositiveFloat
    save_every: PositiveInt
    gpu_memory_share: OpenUnit
    tracking: Trackers

    @model_validator(mode="after")
    def _check_rounds(self) -> "Grpo":
        for key in ("steps", "save_every"):
            steps = getattr(self, key)
            if steps % self.iterations:
                raise ValueError(
                    f"{key}: {steps}: expected a multiple of iterations: {self.iterations}"
                )
        answers = self.prompts_per_step * self.generations
        if answers % self.micro_batches:
            raise ValueError(
                f"micro_batches: {self.micro_batches}: expected a divisor of the {answers} answers "
                "of prompts_per_step times generations"
            )
        return self
