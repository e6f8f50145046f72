"""Parameters of the arms: what each does with a training problem."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stages.lib.core.schema import FocalLevel, Prompting
from stages.lib.params.base import Name, ParamGroup, PositiveInt, Seed, UnitInterval


class UniformArm(ParamGroup):
    """Every example once a pass."""

    strategy: Literal["uniform"]


class RepeatArm(ParamGroup):
    """Every example floor(base + factor * level) times a pass."""

    strategy: Literal["repeat"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class WeightArm(ParamGroup):
    """Every example once a pass, its loss weighted by base + factor * level (mean 1)."""

    strategy: Literal["weight"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class BandArm(ParamGroup):
    """Problems with a pass rate from low to high, ends included, once a pass; no others."""

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


class CurriculumArm(ParamGroup):
    """Every example once a pass, from easy to hard: all take part after ``pace`` of the steps."""

    strategy: Literal["curriculum"]
    pace: Annotated[float, Field(gt=0, le=1)]


class FocalArm(ParamGroup):
    """Every example once a pass, its loss weighted by (1 - p)^gamma.

    p is the model's own probability, while it trains, of the token, or per token of
    the example's response.
    """

    strategy: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    level: FocalLevel


class DartArm(ParamGroup):
    """The base model's own correct samples, once a pass, instead of the worked solutions.

    Up to ``per_problem`` of each problem (``dart_uniform``), or in proportion to its
    fail rate, the hardest up to ``per_problem`` (``dart_prop2diff``).
    """

    strategy: Literal["dart_uniform", "dart_prop2diff"]
    per_problem: PositiveInt


class ConversationsArm(ParamGroup):
    """The conversations of some of the data sets once a pass, and no problems."""

    strategy: Literal["conversations"]
    sources: Annotated[list[Name], Field(min_length=1)]


class ControlArm(ParamGroup):
    """What another arm does with each problem, dealt to random problems."""

    strategy: Literal["control"]
    control_of: Name


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

    A control deals by ``seed``, or by its own of ``seeds``.
    """

    seed: Seed
    seeds: dict[Name, Seed]
    prompting: Annotated[list[Prompting], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]

    def seed_of(self, arm: str) -> int:
        """Return the seed that an arm is dealt by."""
        return self.seeds.get(arm, self.seed)

    @model_validator(mode="after")
    def _seeds_are_of_controls(self) -> "Weigh":
        controls = [name for name, arm in self.arms.items() if isinstance(arm, ControlArm)]
        for name in self.seeds:
            if name not in controls:
                raise ValueError(f"seeds.{name}: expected a control, one of {controls}")
        return self

    @model_validator(mode="after")
    def _controls_name_an_arm(self) -> "Weigh":
        for name, arm in self.arms.items():
            if isinstance(arm, ControlArm):
                of = self.arms.get(arm.control_of)
                if of is None or isinstance(of, ControlArm):
                    raise ValueError(
                        f"arms.{name}.control_of: {arm.control_of!r}: "
                        "expected an arm that is not a control"
                    )
        return self
