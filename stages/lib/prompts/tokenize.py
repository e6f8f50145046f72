"""Tokenize an example with a mask over its supervised tokens."""

from dataclasses import dataclass
from typing import cast

from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Example
from stages.lib.params.data import Prompts
from stages.lib.prompts.templates import encode, pieces


@dataclass(frozen=True)
class TokenizedExample:
    """An example as token ids, and which of them are learned: those of its responses."""

    ids: list[int]
    loss_mask: list[bool]
    weight: float

    def __len__(self) -> int:
        """Return how many tokens there are."""
        return len(self.ids)

    @property
    def supervised(self) -> int:
        """Return how many of them are learned."""
        return sum(self.loss_mask)

    def first(self, count: int) -> "TokenizedExample":
        """Return the example cut after ``count`` tokens."""
        return TokenizedExample(self.ids[:count], self.loss_mask[:count], self.weight)


def tokenize(
    example: Example, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, max_length: int
) -> TokenizedExample:
    """Return an example as tokens. Raises ValueError if it is longer than ``max_length``."""
    tokens = tokenize_any_length(example, tokenizer, prompts)
    if len(tokens) > max_length:
        raise ValueError(f"train.max_length: {max_length}: {describe_length(example, tokens)}")
    return tokens


def tokenize_any_length(
    example: Example, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> TokenizedExample:
    """Return an example as tokens, however many."""
    ids: list[int] = []
    learned: list[bool] = []
    said = pieces(tokenizer, prompts, example.turns, system=example.system)
    for number, (before, to_learn) in enumerate(said):
        # Special tokens stand at the beginning only.
        given = encode(tokenizer, prompts, before) if number == 0 else _plain(tokenizer, before)
        response = _plain(tokenizer, to_learn)
        ids += given + response
        learned += [False] * len(given) + [True] * len(response)
    return TokenizedExample(ids, learned, example.weight)


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return cast(list[int], tokenizer(text, add_special_tokens=False)["input_ids"])


def describe_length(example: Example, tokens: TokenizedExample) -> str:
    """Return how many tokens an example has, as a clause for an error."""
    return f"example of problem {example.problem_id} ({example.prompting}) has {len(tokens)} tokens"
