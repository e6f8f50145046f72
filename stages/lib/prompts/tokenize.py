"""Tokenize training examples with a loss mask."""

from dataclasses import dataclass
from typing import cast

from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Example
from stages.lib.params.data import Prompts
from stages.lib.prompts.templates import encode_prompt, prompt_response_pairs


@dataclass(frozen=True)
class TokenizedExample:
    """The token ids of an example. ``loss_mask`` is true for those of its responses."""

    ids: list[int]
    loss_mask: list[bool]
    weight: float

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    @property
    def supervised(self) -> int:
        """Return the number of supervised tokens."""
        return sum(self.loss_mask)

    def first(self, count: int) -> "TokenizedExample":
        """Return the example truncated to ``count`` tokens."""
        return TokenizedExample(self.ids[:count], self.loss_mask[:count], self.weight)


def tokenize(
    example: Example, tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> TokenizedExample:
    """Return an example as tokens, however many."""
    ids: list[int] = []
    loss_mask: list[bool] = []
    pairs = prompt_response_pairs(tokenizer, prompts, example.turns, system=example.system)
    for number, (prompt, response) in enumerate(pairs):
        # Special tokens are at the beginning only.
        prompt_ids = (
            encode_prompt(tokenizer, prompts, prompt) if number == 0 else _encode(tokenizer, prompt)
        )
        response_ids = _encode(tokenizer, response)
        ids += prompt_ids + response_ids
        loss_mask += [False] * len(prompt_ids) + [True] * len(response_ids)
    return TokenizedExample(ids, loss_mask, example.weight)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return cast(list[int], tokenizer(text, add_special_tokens=False)["input_ids"])


def describe_length(example: Example, length: int) -> str:
    """Return an error's clause about the number of tokens of an example."""
    return f"example of problem {example.problem_id} ({example.prompting}) has {length} tokens"
