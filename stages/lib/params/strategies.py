"""Parameters of the arms: what each does with a training problem."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stages.lib.core.schema import FactorUnit, UnitInterval
from stages.lib.params.base import Name, ParamGroup, Promptings, Seed
from stages.lib.params.training import Tuning


class ArmTraining(ParamGroup):
    """What one arm trains with instead of the parameters of the same names in ``train``."""

    seed: Seed | None = None
    tuning: Tuning | None = None
    steps: PositiveInt | None = None


class ArmGroup(ParamGroup):
    """Options common to all arms."""

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
    level: FactorUnit


class AntiFocalArm(ArmGroup):
    """Every example once per epoch, its loss weighted by exp(-scale * loss of its response).

    The loss is that of the model while it trains, in nats. This is the gradient of the
    accuracy that the loss implies: likely responses count more, the opposite of focal weights.
    """

    strategy: Literal["anti_focal"]
    scale: PositiveFloat


class AsftArm(ArmGroup):
    """Every example once per epoch, each token's loss weighted by its own probability.

    ``anchor`` weighs the divergence from the base model, which is added at every token.
    """

    strategy: Literal["asft"]
    anchor: PositiveFloat


class PriftArm(ArmGroup):
    """Every example once per epoch, each token's loss weighted by its probability for the base."""

    strategy: Literal["prift"]


FactorArm = FocalArm | AntiFocalArm | AsftArm | PriftArm
"""Arms whose loss weights follow a probability of what is learned, and not difficulty."""


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


class OnlineGroup(ArmGroup):
    """Parameters of all online arms, whose mixture adapts to the model during training.

    A cell is the examples of one source with one prompting. ``floor`` is the least weight of a
    cell, relative to the largest. Weights are equal until every cell has had
    ``warmup_examples``, and change after ``every`` steps.
    """

    floor: Annotated[float, Field(gt=0, le=1)]
    warmup_examples: PositiveInt
    every: PositiveInt


class MeasuredGroup(OnlineGroup):
    """Parameters of online arms whose signal is a mean over the fresh examples of a cell.

    An example's weight in this mean halves with every ``half_life`` examples after it.
    """

    half_life: PositiveFloat


class FrontierArm(MeasuredGroup):
    """Weights cells by -A ln A, to which the accuracy gain per e-fold of tokens is proportional.

    The accuracy A is the mean of exp(-scale * loss), the loss being that of a whole response, in
    nats.
    """

    strategy: Literal["frontier"]
    scale: PositiveFloat


class MasteryArm(MeasuredGroup):
    """Weights cells by the share of their responses that are not yet exact."""

    strategy: Literal["mastery"]


class PlannedArm(OnlineGroup):
    """Weights cells by the epochs that are planned for them in the rest of the run.

    The plan follows from learning curves: the loss of a response is fitted as a power of a cell's
    examples, accuracy is exp(-scale * loss). Two points of each curve need ``warmup_examples`` of
    at least 8.
    """

    strategy: Literal["planned"]
    scale: PositiveFloat
    warmup_examples: Annotated[int, Field(ge=8)]


UnguidedArm = UniformArm | FactorArm | ConversationsArm | OnlineGroup
"""Arms that train without knowing how difficult a problem is."""


class Replay(ParamGroup):
    """A control that reuses the weights over time of an online ``arm``.

    ``dealt``: each cell has the weights of another one, permuted by ``seed``; ``yoked``: each has
    the mean of its own throughout the run.
    """

    arm: Name
    cells: Literal["dealt", "yoked"]
    seed: Seed


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
    | AntiFocalArm
    | AsftArm
    | PriftArm
    | DartArm
    | ConversationsArm
    | FrontierArm
    | MasteryArm
    | PlannedArm
    | ControlArm,
    Field(discriminator="strategy"),
]


class Weigh(ParamGroup):
    """The arms: how often, and how heavily, each training example counts.

    ``seed`` permutes the controls that have no seed of their own. ``replays`` are the controls
    of online arms, whose weights are known only when those arms have been trained.
    """

    seed: Seed
    prompting: Promptings
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    replays: dict[Name, Replay] = {}

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
                if isinstance(original, OnlineGroup):
                    raise ValueError(
                        f"arms.{name}.control_of: {arm.control_of!r}: its weights follow its "
                        "training: expected an entry of weigh.replays instead"
                    )
        return self

    @model_validator(mode="after")
    def _replays_name_an_online_arm(self) -> "Weigh":
        online = [name for name, arm in self.arms.items() if isinstance(arm, OnlineGroup)]
        for name, replay in self.replays.items():
            if replay.arm not in online:
                raise ValueError(
                    f"replays.{name}.arm: {replay.arm!r}: expected one of the online arms {online}"
                )
        return self
