"""Plans of the arms: from difficulty to the repeats, weights and order of each problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Difficulty, Factor, FactorUnit
from stages.lib.difficulty.rejection_sampling import samples_per_problem
from stages.lib.difficulty.weighting import repeat_counts, start_fractions
from stages.lib.params.strategies import (
    AntiFocalArm,
    Arm,
    AsftArm,
    BandArm,
    ControlArm,
    ConversationsArm,
    CurriculumArm,
    DartArm,
    FocalArm,
    OnlineGroup,
    PriftArm,
    RepeatArm,
    UniformArm,
    Weigh,
    WeightArm,
)


@dataclass(frozen=True)
class ArmPlan:
    """How an arm trains on each problem; arrays have the shape (n,).

    ``repeats`` counts a problem's occurrences per epoch, ``weights`` are its loss weights
    before scaling, ``start_fraction`` is the fraction of the steps after which it takes
    part. The factor and the anchor are those of its examples. ``n_samples`` counts the base model's
    own correct samples to train on, None for the worked solution. ``samples_shuffled``: draw
    the same number from all problems' samples instead.
    """

    repeats: NDArray[np.int64]
    weights: NDArray[np.float64]
    start_fraction: NDArray[np.float64]
    factor: Factor = "none"
    factor_power: float = 1.0
    factor_unit: FactorUnit = "token"
    factor_shuffled: bool = False
    anchor: float = 0.0
    n_samples: NDArray[np.int64] | None = None
    samples_shuffled: bool = False


def plan_arm(
    arms: Mapping[str, Arm], name: str, n: int, difficulties: Sequence[Difficulty], *, seed: int
) -> ArmPlan:
    """Return the plan of an arm for n problems.

    ``difficulties`` are in the order of the problems, or empty where none was measured:
    an arm that depends on difficulty is then an error. A control has the numbers of another
    arm, permuted by ``seed`` among all problems. Factors and the choice of samples
    are permuted later, when they exist: during training, and when samples are selected. The
    weights of an online arm are those of its cells, which its training decides. Raises
    ValueError for a band without a problem, and for an arm of conversations.
    """
    arm = arms[name]
    uniform = ArmPlan(np.ones(n, dtype=np.int64), np.ones(n), np.zeros(n))
    levels = [row.level for row in difficulties]
    match arm:
        case UniformArm() | OnlineGroup():
            return uniform
        case RepeatArm():
            return replace(uniform, repeats=repeat_counts(levels, base=arm.base, factor=arm.factor))
        case WeightArm():
            return replace(uniform, weights=arm.base + arm.factor * np.array(levels))
        case BandArm():
            return replace(uniform, repeats=_band_mask(arm, name, difficulties))
        case CurriculumArm():
            # The plain pass rate has few values, which most problems share. The posterior
            # mean also distinguishes hard sources from easy ones.
            hardness = [1 - row.posterior_mean for row in difficulties]
            return replace(uniform, start_fraction=start_fractions(hardness, pace=arm.pace))
        case FocalArm():
            return replace(uniform, factor="focal", factor_power=arm.gamma, factor_unit=arm.level)
        case AntiFocalArm():
            return replace(
                uniform, factor="likelihood", factor_power=arm.scale, factor_unit="example"
            )
        case AsftArm():
            return replace(uniform, factor="likelihood", anchor=arm.anchor)
        case PriftArm():
            return replace(uniform, factor="base_likelihood")
        case DartArm():
            return replace(uniform, n_samples=samples_per_problem(arm, difficulties))
        case ControlArm():
            return _permute(plan_arm(arms, arm.control_of, n, difficulties, seed=seed), seed)
        case ConversationsArm():
            raise ValueError(f"weigh.arms.{name}: conversations: expected an arm of problems")


def permutation_seed(weigh: Weigh, name: str) -> int:
    """Return the seed of an arm's permutation: a control's own, else ``weigh.seed``."""
    arm = weigh.arms[name]
    return arm.seed if isinstance(arm, ControlArm) and arm.seed is not None else weigh.seed


def _band_mask(arm: BandArm, name: str, difficulties: Sequence[Difficulty]) -> NDArray[np.int64]:
    """Return 1 for a problem whose pass rate is in the band, ends included, else 0.

    The bounds apply to the plain pass rate, which depends only on the problem's own
    samples. The posterior mean is pulled towards the mean of the problem's source: a band
    of it would select sources rather than problems.
    """
    rates = np.array([row.pass_rate for row in difficulties])
    mask = (arm.low <= rates) & (rates <= arm.high)
    if not mask.any():
        raise ValueError(
            f"weigh.arms.{name}: no problem has a pass rate from {arm.low} to {arm.high}: "
            "expected at least one"
        )
    return mask.astype(np.int64)


def _permute(plan: ArmPlan, seed: int) -> ArmPlan:
    permutation = np.random.default_rng(seed).permutation(len(plan.repeats))
    return replace(
        plan,
        repeats=plan.repeats[permutation],
        weights=plan.weights[permutation],
        start_fraction=plan.start_fraction[permutation],
        factor_shuffled=plan.factor != "none",
        samples_shuffled=plan.n_samples is not None,
    )
