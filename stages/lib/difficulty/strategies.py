"""The strategies of the arms: from difficulty to what an arm does with each problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Difficulty, FocalLevel
from stages.lib.difficulty.rejection_sampling import samples_per_problem
from stages.lib.difficulty.weighting import repeat_counts, start_fractions
from stages.lib.params.strategies import (
    Arm,
    BandArm,
    ControlArm,
    ConversationsArm,
    CurriculumArm,
    DartArm,
    FocalArm,
    RepeatArm,
    UniformArm,
    WeightArm,
)


@dataclass(frozen=True)
class ArmPlan:
    """What an arm does with each problem; arrays have the shape (n,).

    ``repeats`` counts a problem's places in a pass over the data, ``weights`` are its
    loss weights, not yet scaled; it takes part after the share ``start_fraction`` of the steps.
    The focal fields are those of its examples. ``samples`` counts the base model's own
    correct samples that it is to learn from, None for the worked solution; dealt, as
    many are drawn from all problems'.
    """

    repeats: NDArray[np.int64]
    weights: NDArray[np.float64]
    start_fraction: NDArray[np.float64]
    focal_gamma: float = 0.0
    focal_level: FocalLevel = "token"
    focal_shuffled: bool = False
    samples: NDArray[np.int64] | None = None
    samples_shuffled: bool = False


def plan_arm(
    arms: Mapping[str, Arm], name: str, n: int, difficulties: Sequence[Difficulty], *, seed: int
) -> ArmPlan:
    """Return what one of the arms of problems does with each of n, in their order.

    ``difficulties`` are theirs, or empty where none was measured: then arms that go by it
    are errors. A control has the numbers of another arm, dealt to random problems. What is known
    later only is dealt later: a model's probabilities while it trains to random tokens or
    examples of a micro-batch, and what is taken of the correct samples to random ones.
    Raises ValueError for a band without a problem, and for an arm of conversations.
    """
    arm = arms[name]
    every = ArmPlan(np.ones(n, dtype=np.int64), np.ones(n), np.zeros(n))
    levels = [one.level for one in difficulties]
    match arm:
        case UniformArm():
            return every
        case RepeatArm():
            return replace(every, repeats=repeat_counts(levels, base=arm.base, factor=arm.factor))
        case WeightArm():
            return replace(every, weights=arm.base + arm.factor * np.array(levels))
        case BandArm():
            return replace(every, repeats=_inside(arm, name, difficulties))
        case CurriculumArm():
            return replace(every, start_fraction=_opens(arm, difficulties))
        case FocalArm():
            return replace(every, focal_gamma=arm.gamma, focal_level=arm.level)
        case DartArm():
            return replace(every, samples=samples_per_problem(arm, difficulties))
        case ControlArm():
            return _dealt(plan_arm(arms, arm.control_of, n, difficulties, seed=seed), seed)
        case ConversationsArm():
            raise ValueError(f"weigh.arms.{name}: conversations: expected an arm of problems")


def _inside(arm: BandArm, name: str, difficulties: Sequence[Difficulty]) -> NDArray[np.int64]:
    """Return 1 for a problem whose pass rate lies in the band, ends included, 0 for another.

    The bounds are of the plain pass rate: of k samples it says how many were right,
    problem by problem. The posterior's mean is drawn towards the mean of the
    problem's source, so that a band of it would pick sources more than problems.
    """
    rates = np.array([one.pass_rate for one in difficulties])
    inside = (arm.low <= rates) & (rates <= arm.high)
    if not inside.any():
        raise ValueError(
            f"weigh.arms.{name}: no problem has a pass rate from {arm.low} to {arm.high}: "
            "expected at least one"
        )
    return inside.astype(np.int64)


def _opens(arm: CurriculumArm, difficulties: Sequence[Difficulty]) -> NDArray[np.float64]:
    """Return when each problem joins, by the posterior mean of its pass rate.

    The plain pass rate has few values, and most problems may share one of them; the
    posterior's mean also tells the hard sources from the easy ones.
    """
    return start_fractions([1 - one.posterior_mean for one in difficulties], pace=arm.pace)


def _dealt(of: ArmPlan, seed: int) -> ArmPlan:
    dealt = np.random.default_rng(seed).permutation(len(of.repeats))
    return replace(
        of,
        repeats=of.repeats[dealt],
        weights=of.weights[dealt],
        start_fraction=of.start_fraction[dealt],
        focal_shuffled=of.focal_gamma > 0,
        samples_shuffled=of.samples is not None,
    )
