"""Parameters of the arms: what each does with a training problem."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from stages.lib.core.schema import FocalLevel, Prompting, UnitInterval
from stages.lib.params.base import Name, ParamGroup, Seed
from stages.lib.params.training import Tuning


class ArmTraining(ParamGroup):
    """What one arm trains with instead of ``train.seed`` and ``train.tuning``; both optional."""

    seed: Seed | None = None
    tuning: Tuning | None = None


class ArmGroup(ParamGroup):
    """What every arm may have beside its strategy."""

    train: ArmTraining = ArmTraining()


class UniformArm(ArmGroup):
    """Every example once per epoch."""

    strategy: Literal["uniform"]


class RepeatArm(ArmGroup):
    """Every example floor(base + factor * level) times per epoch."""

    strategy: Literal["repeat"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class WeightArm(ArmGroup):
    """Every example once per epoch, its loss weighted by base + factor * level (mean 1)."""

    strategy: Literal["weight"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class BandArm(ArmGroup):
    """Problems with a pass rate from low to high, ends included, once per epoch; no others."""

    strategy: Literal["band"]
    low: UnitInterval
    high: UnitInterval

    @field_validator("high")
    @classmethod
    def _is_not_below_low(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("low", 0.0)
        if high < low:
            raise ValueError(f"expected at least low={low}")
        return high


class CurriculumArm(ArmGroup):
    """Examples once per epoch, from easy to hard; all take part after ``pace`` of the steps."""

    strategy: Literal["curriculum"]
    pace: Annotated[float, Field(gt=0, le=1)]


class FocalArm(ArmGroup):
    """Every example once per epoch, its loss weighted by (1 - p)^gamma.

    p is the model's own probability, while it trains, of the token, or per token of
    the example's response.
    """

    strategy: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    level: FocalLevel


class DartArm(ArmGroup):
    """The base model's own correct samples, once per epoch, instead of the worked solutions.

    Up to ``per_problem`` of each problem (``dart_uniform``), or in proportion to its
    fail rate, the hardest up to ``per_problem`` (``dart_prop2diff``).
    """

    strategy: Literal["dart_uniform", "dart_prop2diff"]
    per_problem: PositiveInt


class ConversationsArm(ArmGroup):
    """The conversations of some of the data sets once per epoch, and no problems."""

    strategy: Literal["conversations"]
    sources: Annotated[list[Name], Field(min_length=1)]


class ControlArm(ArmGroup):
    """What another arm does with each problem, permuted among all problems.

    ``seed`` of the permutation is ``weigh.seed`` where the arm has none.
    """

    strategy: Literal["control"]
    control_of: Name
    seed: Seed | None = None


Arm = Annotated[
    UniformArm
    | RepeatArm
    | WeightArm
    | BandArm
    | CurriculumArm
    | FocalArm
    | DartArm
    | ConversationsArm
    | ControlArm,
    Field(discriminator="strategy"),
]


class Weigh(ParamGroup):
    """The arms: how often, and how heavily, each training example counts.

    ``seed`` permutes the controls that have no seed of their own.
    """

    seed: Seed
    prompting: Annotated[list[Prompting], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]

    @model_validator(mode="after")
    def _controls_name_an_arm(self) -> "Weigh":
        for name, arm in self.arms.items():
            if isinstance(arm, ControlArm):
                original = self.arms.get(arm.control_of)
                if original is None or isinstance(original, ControlArm):
                    raise ValueError(
                        f"arms.{name}.control_of: {arm.control_of!r}: "
                        "expected an arm that is not a control"
                    )
        return self
