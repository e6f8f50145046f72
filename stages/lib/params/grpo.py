"""Parameters of reinforcement learning with GRPO."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from stages.lib.core.schema import UnitInterval
from stages.lib.params.base import Name, OpenUnit, ParamGroup, Seed
from stages.lib.params.training import AdapterTuning, Launch, Schedule, Trackers, Tuning

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

BUILT_IN_REWARDS = ("answer", "format")


class Reward(ParamGroup):
    """Weight of a reward, 0 to log it only; for a reward of one's own also its function.

    ``function`` is a path such as ``package.module:name``; ``options`` are further arguments of
    the function. A number alone is the weight of a built-in reward.
    """

    weight: Weight
    function: Annotated[str, Field(pattern=r"^\w+(\.\w+)*:\w+$")] | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _accept_number(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Reward) else {"weight": value}


# Columns of the log are named after rewards.
RewardName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _check_rewards(rewards: dict[str, Reward]) -> dict[str, Reward]:
    for name, reward in rewards.items():
        is_built_in = name in BUILT_IN_REWARDS
        if is_built_in and reward.function is not None:
            raise ValueError(f"expected a number for {name}, which has a function already")
        if not is_built_in and reward.function is None:
            raise ValueError(
                f"expected {{function: package.module:name, weight: 1.0}} for {name}, as the "
                f"built-in rewards are {' and '.join(BUILT_IN_REWARDS)}"
            )
    if not any(reward.weight for reward in rewards.values()):
        raise ValueError("expected a reward with a weight above 0")
    return rewards


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
    ``iterations`` optimizer steps on them, each in ``micro_batches``. Up to ``max_resamples``
    times, groups whose answers all have the same reward are replaced by those of other problems.
    ``logged_answers`` of each round are written to a file. ``beta`` weights the KL divergence
    from the parent; ``epsilon`` and ``epsilon_high`` clip probability ratios below and above 1.
    ``loss_type`` averages over answers (``grpo``), over all tokens (``dapo``), or divides by a
    constant (``dr_grpo``). ``scale_rewards`` says whose standard deviation divides advantages.
    ``mask_truncated`` leaves answers at the length limit out of the loss. ``launch`` divides a
    round among processes, ``gpu_memory_share`` is vLLM's share of a GPU.
    """

    models: dict[Name, GrpoModel]
    steps: PositiveInt
    prompts_per_step: PositiveInt
    generations: Annotated[int, Field(ge=2)]
    iterations: PositiveInt
    micro_batches: PositiveInt
    max_tokens: PositiveInt
    temperature: Annotated[float, Field(gt=0, le=2)]
    max_resamples: NonNegativeInt
    logged_answers: NonNegativeInt
    rewards: Annotated[dict[RewardName, Reward], AfterValidator(_check_rewards)]
    beta: NonNegativeFloat
    epsilon: OpenUnit
    epsilon_high: PositiveFloat | None
    loss_type: Literal["grpo", "dapo", "dr_grpo"]
    scale_rewards: Literal["group", "batch", "none"]
    mask_truncated: bool
    learning_rate: PositiveFloat
    schedule: Schedule
    warmup_steps: NonNegativeInt
    max_grad_norm: PositiveFloat
    save_every: PositiveInt
    gradient_checkpointing: bool
    launch: Launch | None
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

    @model_validator(mode="after")
    def _check_launch(self) -> "Grpo":
        launch = self.launch
        if launch is None:
            return self
        if launch.strategy != "ddp":
            raise ValueError(
                f"launch.strategy: '{launch.strategy}': expected 'ddp', as every process "
                "generates with the whole model"
            )
        for key in ("prompts_per_step", "micro_batches"):
            if getattr(self, key) % launch.processes:
                raise ValueError(
                    f"{key}: {getattr(self, key)}: "
                    f"expected a multiple of launch.processes={launch.processes}"
                )
        return self
