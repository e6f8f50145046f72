"""Which texts GPTQ sees."""

from collections.abc import Mapping, Sequence

import numpy as np

from stages.lib.records import Example


def draw(
    examples: Sequence[Example],
    n: int,
    rng: np.random.Generator,
    pass_rates: Mapping[str, float] | None = None,
) -> list[Example]:
    """Draw n of the examples that are taught, without replacement; all, if there are fewer.

    Each is as likely as any other, or, given the ``pass_rates`` of problems by id, as
    its problem is failed. Raises ValueError if none of them can be drawn.
    """
    taught = [example for example in examples if example.repeats]
    chances = np.ones(len(taught))
    if pass_rates:
        chances = np.array([1 - pass_rates[example.problem_id] for example in taught])
    possible = int(np.count_nonzero(chances))
    if not possible:
        raise ValueError("quantize.calibration: expected an example whose problem is ever failed")
    chosen = rng.choice(len(taught), min(n, possible), replace=False, p=chances / chances.sum())
    return [taught[i] for i in chosen]
