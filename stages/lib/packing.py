"""Examples as tokens, and the plan of a training run.

Each optimizer step is planned beforehand: whole examples whose supervised tokens
sum to the same number in every step and every arm. A step's examples are dealt to a
fixed number of micro-batches; a micro-batch is one row of concatenated examples, kept
apart by their position ids, so nothing is padded and no example sees another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from stages.lib.focal import focal_columns
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts import Turn, encode, prompt_text, response_text
from stages.lib.records import Example
from stages.lib.weighting import deal, plan_steps

IGNORED = -100


@dataclass(frozen=True)
class Tokens:
    """An example as token ids: the prompt, and the response that is learned."""

    prompt: list[int]
    response: list[int]
    weight: float

    def __len__(self) -> int:
        """Return the length of prompt and response together."""
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Fitting:
    """Examples of an allowed length, their tokens, and how many were longer."""

    examples: list[Example]
    tokens: list[Tokens]
    too_long: int


def tokenize(
    example: Example, tokenizer: PreTrainedTokenizerBase, prompts: Prompts, max_length: int
) -> Tokens:
    """Return an example as tokens. Raises ValueError if it is longer than ``max_length``."""
    tokens = tokens_of(example, tokenizer, prompts)
    if len(tokens) > max_length:
        raise ValueError(f"train.max_length: {max_length}: {_length(example, tokens)}")
    return tokens


def fitting(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
) -> Fitting:
    """Return examples of at most ``settings.max_length`` tokens; ``settings.too_long`` says how.

    One that is longer is an error, is dropped, or loses the end of its response, and its
    end of turn with it. Raises ValueError for that error, for a prompt that leaves
    nothing of its response, and if every example were dropped.
    """
    limit = settings.max_length
    pairs = [(one, tokens_of(one, tokenizer, prompts)) for one in examples]
    too_long = [(one, tokens) for one, tokens in pairs if len(tokens) > limit]
    if too_long and settings.too_long == "error":
        raise ValueError(f"train.max_length: {limit}: {_length(*too_long[0])}")
    if settings.too_long == "truncate":
        pairs = [(one, _truncated(one, tokens, limit)) for one, tokens in pairs]
    kept = [(one, tokens) for one, tokens in pairs if len(tokens) <= limit]
    if examples and not kept:
        raise ValueError(f"train.max_length: {limit}: all {len(examples)} examples are longer")
    return Fitting([one for one, _ in kept], [tokens for _, tokens in kept], len(too_long))


def micro_batch(examples: Sequence[Tokens], mean_weight: float) -> dict[str, list[Any]]:
    """Return one row of concatenated examples: ids, labels, position ids, token weights.

    All lists have the row's length. A prompt's label is -100 and its weight 0; a
    response token's weight is its example's over ``mean_weight``. Raises ValueError
    if nothing is supervised.
    """
    row: dict[str, list[Any]] = {
        "input_ids": [],
        "labels": [],
        "position_ids": [],
        "weights": [],
    }
    for example in examples:
        row["input_ids"] += example.prompt + example.response
        row["labels"] += [IGNORED] * len(example.prompt) + example.response
        row["position_ids"] += range(len(example))
        weight = example.weight / mean_weight
        row["weights"] += [0.0] * len(example.prompt) + [weight] * len(example.response)
    if all(label == IGNORED for label in row["labels"]):
        raise ValueError("micro-batch: no supervised token; expected at least one response token")
    return row


def plan(fitted: Fitting, settings: Train) -> list[dict[str, list[Any]]]:
    """Return the micro-batches of a whole run, ``settings.micro_batches`` per step, in order.

    Every step has exactly ``settings.tokens_per_step`` supervised tokens. Weights are
    scaled to mean 1 over all supervised tokens of the run. ``problems`` of a micro-batch
    are the ids of its examples' problems; the rows of a focal arm have ``focal_columns``
    beside.
    """
    examples, tokens = fitted.examples, fitted.tokens
    rng = np.random.default_rng(settings.seed)
    steps = plan_steps(
        [len(one.response) for one in tokens],
        [one.repeats for one in examples],
        [one.opens for one in examples],
        steps=settings.steps,
        tokens_per_step=settings.tokens_per_step,
        rng=rng,
    )
    total = settings.steps * settings.tokens_per_step
    mean = sum(tokens[i].weight * len(tokens[i].response) for step in steps for i in step) / total
    if mean == 0:
        raise ValueError("weigh.arms: every loss weight is 0: expected one above 0")
    batches = [
        [step[i] for i in chosen]
        for step in steps
        for chosen in deal([len(tokens[i]) for i in step], settings.micro_batches)
    ]
    rows = [
        micro_batch([tokens[i] for i in batch], mean)
        | {"problems": [examples[i].problem_id for i in batch]}
        for batch in batches
    ]
    if any(one.focal_gamma for one in examples):
        for row, batch in zip(rows, batches, strict=True):
            lengths = [(len(tokens[i].prompt), len(tokens[i].response)) for i in batch]
            row |= focal_columns([examples[i] for i in batch], lengths, rng)
    return rows


def tokens_of(example: Example, tokenizer: PreTrainedTokenizerBase, prompts: Prompts) -> Tokens:
    """Return an example as tokens, however many."""
    shown = Turn(example.question, example.response)
    prompt = encode(tokenizer, prompts, prompt_text(tokenizer, prompts, shown.question))
    response = tokenizer(response_text(tokenizer, prompts, shown), add_special_tokens=False)
    return Tokens(prompt, response["input_ids"], example.weight)


def _truncated(example: Example, tokens: Tokens, limit: int) -> Tokens:
    if len(tokens.prompt) >= limit:
        raise ValueError(
            f"train.max_length: {limit}: the prompt of problem {example.problem_id} "
            f"({example.prompting}) has {len(tokens.prompt)} tokens"
        )
    return replace(tokens, response=tokens.response[: limit - len(tokens.prompt)])


def _length(example: Example, tokens: Tokens) -> str:
    return f"example of problem {example.problem_id} ({example.prompting}) has {len(tokens)} tokens"
