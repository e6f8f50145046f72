"""Choose the texts that GPTQ is calibrated on."""

from collections.abc import Sequence

import numpy as np

from stages.lib.core.schema import Example


def sample_calibration(
    examples: Sequence[Example],
    n: int,
    rng: np.random.Generator,
    pass_rates: Sequence[float] | None = None,
) -> list[Example]:
    """Draw n distinct training examples, or all if there are fewer.

    The chance of an example is proportional to its repeats; with ``pass_rates``, one for each
    example, also to the rate at which it is failed. Raises ValueError if every chance is 0.
    """
    weights = np.array([float(example.repeats) for example in examples])
    if pass_rates is not None:
        weights *= 1 - np.array(pass_rates)
    possible = int(np.count_nonzero(weights))
    if not possible:
        raise ValueError(
            "quantize.calibration: expected a training example with repeats above 0 and, for "
            "`calibrate_on: difficulty`, a problem with a pass rate below 1"
        )
    chosen = rng.choice(len(examples), min(n, possible), replace=False, p=weights / weights.sum())
    return [examples[i] for i in chosen]
