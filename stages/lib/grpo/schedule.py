"""Which problems each round of reinforcement learning samples, planned beforehand.

Where every completion of a problem has the same reward, the group has no advantages to learn
from. A problem that the base model always or never solved is likely to give such a group, so
it is drawn less often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Problem


@dataclass(frozen=True)
class PromptSchedule:
    """Problems with their prompts as token ids, and the problems of each round.

    ``rounds`` holds indices of problems, (rounds, problems of a round), and ``candidates`` for
    each round those that may replace some of them; ``stop`` are the texts that end a completion
    besides the end-of-turn token.
    """

    problems: Sequence[Problem]
    prompts: Sequence[tuple[int, ...]]
    rounds: NDArray[np.int64]
    candidates: Sequence[Sequence[int]]
    stop: Sequence[str]


def plan_rounds(
    pass_rates: Sequence[float],
    *,
    rounds: int,
    per_round: int,
    zero_variance_weight: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the indices of the problems of each round, shape (rounds, per_round).

    Rounds are cut from shuffled epochs. An epoch holds each problem with a pass rate between
    0 and 1 once, and any other with the probability ``zero_variance_weight``. The problems of
    a round differ: one that would come twice waits for the next. Raises ValueError if an
    epoch holds, on average, fewer problems than a round.
    """
    weights = _draw_probabilities(pass_rates, zero_variance_weight)
    epoch_size = int(weights.sum())
    if epoch_size < per_round:
        raise ValueError(
            f"grpo.prompts_per_step: {per_round}: expected at most {epoch_size}, the problems that "
            f"an epoch holds on average with a zero_variance_weight of {zero_variance_weight}"
        )
    upcoming: list[int] = []
    planned = []
    for _ in range(rounds):
        # Only distinct problems count: those that must wait stay at the head of the list.
        while len(set(upcoming)) < per_round:
            drawn = np.flatnonzero(rng.random(len(weights)) < weights)
            upcoming += rng.permutation(drawn).tolist()
        chosen = list(dict.fromkeys(upcoming))[:per_round]
        for index in chosen:
            upcoming.remove(index)
        planned.append(chosen)
    return np.array(planned)


def plan_candidates(
    pass_rates: Sequence[float],
    rounds: NDArray[np.int64],
    *,
    most: int,
    zero_variance_weight: float,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Return the problems that may replace those of each round, at most ``most``, in order.

    They are drawn with the probabilities of ``plan_rounds``; none is one of the round's own.
    """
    weights = _draw_probabilities(pass_rates, zero_variance_weight)
    planned = []
    for chosen in rounds:
        drawn = np.flatnonzero(rng.random(len(weights)) < weights)
        others = rng.permutation(np.setdiff1d(drawn, chosen))
        planned.append(others[:most].tolist())
    return planned


def _draw_probabilities(
    pass_rates: Sequence[float], zero_variance_weight: float
) -> NDArray[np.float64]:
    rates = np.asarray(pass_rates, dtype=float)
    return np.where((rates == 0) | (rates == 1), zero_variance_weight, 1.0)
