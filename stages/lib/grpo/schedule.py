"""Which problems each round of reinforcement learning asks, planned beforehand.

Where every answer to a problem earns the same, a group of answers says nothing about
which were better. A problem that the base model always or never solved is likely to be
such a one, so it is asked less often.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plan_rounds(
    pass_rates: Sequence[float],
    *,
    rounds: int,
    per_round: int,
    zero_variance_weight: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the places of the problems to ask, shape (rounds, per_round).

    Rounds are cut from shuffled passes. A pass holds each problem with a pass rate between
    0 and 1 once, and any other with the probability ``zero_variance_weight``. The problems of
    a round differ: one that would come twice waits for the next. Raises ValueError if a
    pass holds, on average, fewer problems than a round.
    """
    rates = np.asarray(pass_rates, dtype=float)
    weights = np.where((rates == 0) | (rates == 1), zero_variance_weight, 1.0)
    held = int(weights.sum())
    if held < per_round:
        raise ValueError(
            f"grpo.prompts_per_step: {per_round}: expected at most {held}, the problems that "
            f"a pass holds on average with a zero_variance_weight of {zero_variance_weight}"
        )
    ahead: list[int] = []
    planned = []
    for _ in range(rounds):
        while len(set(ahead)) < per_round:
            ahead += rng.permutation(np.flatnonzero(rng.random(len(rates)) < weights)).tolist()
        chosen = list(dict.fromkeys(ahead))[:per_round]
        for place in chosen:
            ahead.remove(place)
        planned.append(chosen)
    return np.array(planned)
