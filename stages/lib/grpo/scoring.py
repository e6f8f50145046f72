"""Score the completions of a round with the rewards, each completion once."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.lib.core.schema import Problem
from stages.lib.generations.requests import truncate_at_stop
from stages.lib.grpo.rewards import RewardFunction, weighted_sum

# Rewards whose weighted sums differ by less are equal: sums in floating point.
_TOLERANCE = 1e-6


class Scorer:
    """The rewards of completions, kept from one ``forget`` to the next.

    ``end_ids`` are the tokens that end a turn, ``stops`` the texts behind which nothing counts.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        rewards: Sequence[RewardFunction],
        tokenizer: PreTrainedTokenizerBase,
        end_ids: set[int],
        stops: Sequence[str],
    ) -> None:
        """Keep what completions are scored with; no completion is scored yet."""
        self.problems = problems
        self.rewards = rewards
        self.end_ids = end_ids
        self._tokenizer = tokenizer
        self._stops = stops
        self._scores: dict[tuple[int, tuple[int, ...]], tuple[float, ...]] = {}

    def forget(self) -> None:
        """Drop the scores of the round before."""
        self._scores.clear()

    def scores(self, problem: int, ids: Sequence[int]) -> tuple[float, ...]:
        """Return each reward of a completion's tokens for the problem of an index, unweighted."""
        key = (problem, tuple(ids))
        if key not in self._scores:
            ended = self.has_ended(ids)
            text = truncate_at_stop(self.text(ids), self._stops)
            self._scores[key] = tuple(
                reward.score(text, self.problems[problem], ended=ended) for reward in self.rewards
            )
        return self._scores[key]

    def reward(self, problem: int, ids: Sequence[int]) -> float:
        """Return the weighted sum of a completion's rewards."""
        return weighted_sum(self.rewards, self.scores(problem, ids))

    def has_signal(self, problem: int, group: Sequence[Sequence[int]]) -> bool:
        """Return whether the completions of a group differ in their reward."""
        rewards = [self.reward(problem, ids) for ids in group]
        return max(rewards) - min(rewards) > _TOLERANCE

    def has_ended(self, ids: Sequence[int]) -> bool:
        """Return whether a completion ended its turn."""
        return ids[-1] in self.end_ids

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of a completion."""
        return cast(str, self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def functions(self) -> list[Callable[..., list[float]]]:
        """Return a function for each reward, with the signature and the name that TRL expects."""
        return [self._function(position) for position in range(len(self.rewards))]

    def _function(self, position: int) -> Callable[..., list[float]]:
        def score(
            problem_index: Sequence[int], completion_ids: Sequence[Sequence[int]], **_: Any
        ) -> list[float]:
            return [
                self.scores(problem, ids)[position]
                for problem, ids in zip(problem_index, completion_ids, strict=True)
            ]

        score.__name__ = self.rewards[position].name
        return score


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids that end a turn: the tokenizer's, and those that the model declares."""
    declared = model.generation_config.eos_token_id  # type: ignore[union-attr]
    declared = declared if isinstance(declared, list) else [declared]
    return {token for token in [tokenizer.eos_token_id, *declared] if token is not None}
