"""Parameters of reinforcement learning."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from stages.lib.core.schema import UnitInterval
from stages.lib.params.base import Name, OpenUnit, ParamGroup, Seed
from stages.lib.params.training import AdapterTuning, Schedule, Tracker, Tuning

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rewards(ParamGroup):
    """How much a right answer is worth, and how much the form that training teaches."""

    answer: Weight
    format: Weight

    @model_validator(mode="after")
    def _reward_something(self) -> "Rewards":
        if self.answer + self.format == 0:
            raise ValueError("expected answer or format above 0")
        return self


class GrpoModel(ParamGroup):
    """The base or an arm to begin from, and what is its own.

    ``zero_variance_weight`` is how likely a problem with a pass rate of 0 or 1 is drawn,
    beside one in between.
    """

    parent: Name
    seed: Seed
    tuning: Tuning
    zero_variance_weight: UnitInterval

    @model_validator(mode="after")
    def _answers_as_it_is_trained(self) -> "GrpoModel":
        if isinstance(self.tuning, AdapterTuning) and self.tuning.dropout:
            raise ValueError(
                f"tuning.dropout: {self.tuning.dropout}: expected 0.0, as the model that is "
                "trained is the one that answers"
            )
        return self


class Grpo(ParamGroup):
    """GRPO: the models to make and the settings they share.

    A round asks ``prompts_per_step`` problems ``generations`` times; ``iterations`` steps
    are made on its answers, each in ``micro_batches``. ``beta`` weighs the divergence from
    the parent, ``epsilon`` clips probability ratios. ``gpu_memory_share`` is vLLM's.
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
    tracking: list[Tracker]

    @model_validator(mode="after")
    def _is_made_of_whole_rounds(self) -> "Grpo":
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
