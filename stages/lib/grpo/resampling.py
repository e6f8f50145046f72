"""Replace groups without signal while a round is sampled (DAPO, arXiv:2503.14476, section 3.2).

Where all completions of a problem have the same reward, their advantages are 0 and the group
teaches nothing. Other problems are sampled in place of such groups, which costs their tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Group:
    """The completions of one problem: their tokens, and vLLM's log-probabilities of these.

    ``problem`` is an index in the schedule; ``logprobs`` are None where transformers sampled.
    """

    problem: int
    completions: Sequence[list[int]]
    logprobs: Sequence[Any] | None

    @property
    def tokens(self) -> int:
        """Return the number of generated tokens."""
        return sum(map(len, self.completions))


@dataclass(frozen=True)
class SampledRound:
    """The groups to train on, how many of them have no signal, and what was generated.

    Generated groups and tokens include those of the ``replaced`` groups.
    """

    groups: list[Group]
    without_signal: int
    replaced: int
    generated_groups: int
    generated_tokens: int


def sample_round(
    problems: Sequence[int],
    candidates: Iterable[int],
    sample: Callable[[Sequence[int]], list[Group]],
    has_signal: Callable[[Group], bool],
    *,
    max_resamples: int,
) -> SampledRound:
    """Sample a group for each problem; replace those without signal, ``max_resamples`` times.

    The replacements are groups of ``candidates``, in their order. A replacement without signal
    is replaced the next time; what is left of such groups at the end stays.
    """
    groups = sample(problems)
    generated = list(groups)
    remaining = iter(candidates)
    for _ in range(max_resamples):
        lacking = [index for index, group in enumerate(groups) if not has_signal(group)]
        chosen = dict(zip(lacking, remaining, strict=False))
        if not chosen:
            break
        replacements = sample(list(chosen.values()))
        generated += replacements
        for index, group in zip(chosen, replacements, strict=True):
            groups[index] = group
    return SampledRound(
        groups,
        without_signal=sum(not has_signal(group) for group in groups),
        replaced=len(generated) - len(groups),
        generated_groups=len(generated),
        generated_tokens=sum(group.tokens for group in generated),
    )
