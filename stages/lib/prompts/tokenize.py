"""Tokenize training examples with a loss mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Example, ExampleInfo
from stages.lib.params.data import Prompts
from stages.lib.prompts.templates import encode_prompts, prompt_response_pairs


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
    return tokenize_batch([example], tokenizer, prompts)[0]


def tokenize_batch(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, prompts: Prompts
) -> list[TokenizedExample]:
    """Return examples as tokens, however many; a batch is faster than one after the other."""
    texts = [
        [
            text
            for pair in prompt_response_pairs(
                tokenizer, prompts, example.turns, system=example.system
            )
            for text in pair
        ]
        for example in examples
    ]
    # Special tokens are at the beginning only.
    first_prompts = encode_prompts(tokenizer, prompts, [parts[0] for parts in texts])
    later = iter(_encode(tokenizer, [text for parts in texts for text in parts[1:]]))
    batch = []
    for example, parts, first_prompt in zip(examples, texts, first_prompts, strict=True):
        # Prompts and responses take turns.
        pieces = [first_prompt, *islice(later, len(parts) - 1)]
        ids = [token for piece in pieces for token in piece]
        loss_mask = [number % 2 == 1 for number, piece in enumerate(pieces) for _ in piece]
        batch.append(TokenizedExample(ids, loss_mask, example.weight))
    return batch


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    return cast(list[list[int]], tokenizer(texts, add_special_tokens=False)["input_ids"])


def describe_length(example: Example | ExampleInfo, length: int) -> str:
    """Return an error's clause about the number of tokens of an example."""
    return f"example of problem {example.problem_id} ({example.prompting}) has {length} tokens"
