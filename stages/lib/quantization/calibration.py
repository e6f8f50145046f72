"""Choose the texts that GPTQ is calibrated on."""

from collections.abc import Sequence

import numpy as np

from stages.lib.core.schema import Example


def sample_calibration(
    examples: Sequence[Example], n: int, rng: np.random.Generator
) -> list[Example]:
    """Draw n distinct training examples, or all if there are fewer.

    The chance of an example is proportional to its repeats. Raises ValueError if all are 0.
    """
    weights = np.array([float(example.repeats) for example in examples])
    possible = int(np.count_nonzero(weights))
    if not possible:
        raise ValueError("quantize.calibration: expected a training example with repeats above 0")
    chosen = rng.choice(len(examples), min(n, possible), replace=False, p=weights / weights.sum())
    return [examples[i] for i in chosen]
