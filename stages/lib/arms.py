"""The strategies of the arms: from difficulty to repetitions and loss weights."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.params import Arm, ControlArm, RepeatArm, UniformArm, WeightArm
from stages.lib.weighting import repetitions

Counts = NDArray[np.int64]
Weights = NDArray[np.float64]


def arm_weights(
    arms: Mapping[str, Arm], name: str, levels: Sequence[float], *, seed: int
) -> tuple[Counts, Weights]:
    """Return repetitions and loss weights per problem, each (n,), of one arm.

    ``levels`` (n,) are the problems' difficulties; weights are not yet scaled. A
    control has the repetitions and weights of another arm, dealt to random problems.
    """
    arm = arms[name]
    n = len(levels)
    match arm:
        case UniformArm():
            return np.ones(n, dtype=np.int64), np.ones(n)
        case RepeatArm():
            return repetitions(levels, base=arm.base, factor=arm.factor), np.ones(n)
        case WeightArm():
            return np.ones(n, dtype=np.int64), arm.base + arm.factor * np.asarray(levels, float)
        case ControlArm():
            repeats, weights = arm_weights(arms, arm.of, levels, seed=seed)
            dealt = np.random.default_rng(seed).permutation(n)
            return repeats[dealt], weights[dealt]
