"""Examples as tokens, and the plan of a training run.

Each optimizer step is planned beforehand: whole examples whose supervised tokens
sum to the same number in every step and every arm. A step's examples are dealt to a
fixed number of micro-batches; a micro-batch is one row of concatenated examples, kept
apart by their position ids, so nothing is padded and no example sees another.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Example
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts.tokenize import TokenizedExample, describe_length, tokenize_any_length
from stages.lib.sft.focal import focal_columns
from stages.lib.sft.schedule import UnfitExampleError, balance_micro_batches, plan_steps
from stages.lib.training.packing import IGNORED, micro_batch


@dataclass(frozen=True)
class TokenizedExamples:
    """Examples of an allowed length, their tokens, and how many were longer."""

    examples: list[Example]
    tokens: list[TokenizedExample]
    overlong: int


def tokenize_examples(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
) -> TokenizedExamples:
    """Return examples of at most ``settings.max_length`` tokens; ``settings.overlong`` says how.

    One that is longer is an error, is dropped, or loses its end, and an end of turn with
    it; one whose prompt leaves nothing to learn is dropped then, too. One that is never
    repeated, and so not learned from, is no error and not counted. Raises ValueError for that
    error, and if every example were dropped.
    """
    limit = settings.max_length
    pairs = [(one, tokenize_any_length(one, tokenizer, prompts)) for one in examples]
    overlong = [(one, tokens) for one, tokens in pairs if one.repeats and len(tokens) > limit]
    if overlong and settings.overlong == "error":
        raise ValueError(f"train.max_length: {limit}: {describe_length(*overlong[0])}")
    if settings.overlong == "truncate":
        pairs = [(one, tokens.first(limit)) for one, tokens in pairs]
    kept = [(one, tokens) for one, tokens in pairs if len(tokens) <= limit and tokens.supervised]
    if examples and not kept:
        raise ValueError(f"train.max_length: {limit}: all {len(examples)} examples are longer")
    return TokenizedExamples(
        [one for one, _ in kept], [tokens for _, tokens in kept], len(overlong)
    )


def plan(fitted: TokenizedExamples, settings: Train) -> list[dict[str, list[Any]]]:
    """Return the micro-batches of a whole run, ``settings.micro_batches`` per step, in order.

    Every step has exactly ``settings.tokens_per_step`` supervised tokens. Weights are
    scaled to mean 1 over all supervised tokens of the run. ``problems`` of a micro-batch
    are the ids of its examples' problems; the rows of a focal arm have ``focal_columns``
    beside. Raises ValueError for an example that fits no step, and for a step of fewer
    examples than micro-batches.
    """
    examples, tokens = fitted.examples, fitted.tokens
    rng = np.random.default_rng(settings.seed)
    steps = _steps(fitted, settings, rng)
    total = settings.steps * settings.tokens_per_step
    mean = sum(tokens[i].weight * tokens[i].supervised for step in steps for i in step) / total
    if mean == 0:
        raise ValueError("weigh.arms: every loss weight is 0: expected one above 0")
    batches = [
        [step[i] for i in chosen]
        for step in steps
        for chosen in balance_micro_batches([len(tokens[i]) for i in step], settings.micro_batches)
    ]
    rows = [
        micro_batch([tokens[i] for i in batch], mean)
        | {"problems": [examples[i].problem_id for i in batch]}
        for batch in batches
    ]
    if any(one.focal_gamma for one in examples):
        for row, batch in zip(rows, batches, strict=True):
            learned = [tokens[i].loss_mask for i in batch]
            row |= focal_columns([examples[i] for i in batch], learned, rng)
    return rows


def _steps(fitted: TokenizedExamples, settings: Train, rng: np.random.Generator) -> list[list[int]]:
    """Return the examples of each step; errors name the parameter and the problem."""
    try:
        steps = plan_steps(
            [one.supervised for one in fitted.tokens],
            [one.repeats for one in fitted.examples],
            [one.start_fraction for one in fitted.examples],
            steps=settings.steps,
            tokens_per_step=settings.tokens_per_step,
            rng=rng,
        )
    except UnfitExampleError as error:
        unfit = fitted.examples[error.example]
        raise ValueError(
            f"train.tokens_per_step: {settings.tokens_per_step}: example of problem "
            f"{unfit.problem_id} ({unfit.prompting}): {error.why}"
        ) from error
    for number, step in enumerate(steps, start=1):
        if len(step) < settings.micro_batches:
            raise ValueError(
                f"train.micro_batches: {settings.micro_batches}: step {number} has {len(step)} "
                "examples: expected at most as many, or a larger train.tokens_per_step"
            )
    return steps


def exposure_stats(
    rows: Sequence[Mapping[str, list[Any]]], fitted: TokenizedExamples
) -> dict[str, float]:
    """Return what the micro-batches of a run show of the examples that they were planned from.

    ``shown`` counts examples, ``distinct`` different ones and ``of_problems`` their problems,
    ``most`` how often the most frequent is shown; ``passes`` are passes over the data, by
    supervised tokens.
    """
    counts: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for row in rows:
        ids = row["input_ids"]
        starts = [place for place, position in enumerate(row["position_ids"]) if position == 0]
        for problem, (start, end) in zip(
            row["problems"], pairwise([*starts, len(ids)]), strict=True
        ):
            counts[problem, tuple(ids[start:end])] += 1
    learned = sum(label != IGNORED for row in rows for label in row["labels"])
    a_pass = sum(
        one.repeats * tokens.supervised
        for one, tokens in zip(fitted.examples, fitted.tokens, strict=True)
    )
    return {
        "shown": counts.total(),
        "distinct": len(counts),
        "of_problems": len({problem for problem, _ in counts}),
        "most": max(counts.values()),
        "passes": round(learned / a_pass, 3),
    }
