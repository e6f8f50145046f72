"""Which texts GPTQ sees."""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.lib.core.schema import Example


def sample_calibration(
    examples: Sequence[Example],
    n: int,
    rng: np.random.Generator,
    pass_rates: Mapping[str, float] | None = None,
) -> list[Example]:
    """Draw n distinct examples of those that are taught; all, if there are fewer.

    Each is as likely as it is repeated, times, given the ``pass_rates`` of problems by id,
    how often its problem is failed. Raises ValueError if none of them can be drawn.
    """
    chances = np.array([float(example.repeats) for example in examples])
    if pass_rates is not None:
        chances *= [1 - pass_rates[example.problem_id] for example in examples]
    possible = int(np.count_nonzero(chances))
    if not possible:
        raise ValueError(
            "quantize.calibration: expected an example that is taught and, to draw by "
            "difficulty, whose problem is ever failed"
        )
    chosen = rng.choice(len(examples), min(n, possible), replace=False, p=chances / chances.sum())
    return [examples[i] for i in chosen]
