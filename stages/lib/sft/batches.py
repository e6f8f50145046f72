"""The plan of a training run: which examples each micro-batch of each optimizer step holds.

Each step is planned beforehand: whole examples whose supervised tokens sum to the same
number in every step and every arm. A step's examples are spread over a fixed number of
micro-batches, which is given or follows from the length of a row. A micro-batch becomes one
row of concatenated examples, told apart by their position ids, so nothing is padded and no
example attends to another.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.lib.core.schema import content_id
from stages.lib.params.training import Train
from stages.lib.sft.factors import LossFactor, count_units, factor_columns, loss_factor
from stages.lib.sft.schedule import (
    UnfitExampleError,
    balance_micro_batches,
    max_load,
    plan_steps,
)
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.training.distributed import count_processes
from stages.lib.training.packing import micro_batch


class Plan(ABC):
    """The micro-batches of a run, as indices into its examples: all, or those so far.

    ``micro_batches`` are those of all steps in order, ``per_step`` to a step. ``factor`` is that
    of the loss weights, if they have one.
    """

    data: TokenizedExamples
    micro_batches: list[list[int]]
    per_step: int
    factor: LossFactor | None

    @abstractmethod
    def row(self, index: int) -> dict[str, list[Any]]:
        """Build the packed row of a micro-batch."""

    def step(self, number: int) -> list[int]:
        """Return the examples of a step; the first step is 0."""
        batches = self.micro_batches[number * self.per_step : (number + 1) * self.per_step]
        return [example for batch in batches for example in batch]

    def problem_ids(self, step: int) -> list[str]:
        """Return the ids of the problems in a step."""
        return [self.data.examples[i].problem_id for i in self.step(step)]


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """The micro-batches of a run, as indices into ``data``; rows are built when asked for.

    Weights are divided by ``mean_weight``. An arm with a loss factor has the random generator of
    each micro-batch in ``factor_rngs``; other arms have none.
    """

    data: TokenizedExamples
    micro_batches: list[list[int]]
    per_step: int
    mean_weight: float
    factor: LossFactor | None = None
    factor_rngs: Sequence[np.random.Generator] = ()

    def row(self, index: int) -> dict[str, list[Any]]:
        """Build the packed row of a micro-batch, with the columns of a loss factor."""
        batch = self.micro_batches[index]
        tokens = [self.data[i] for i in batch]
        row = micro_batch(tokens, self.mean_weight)
        if self.factor is not None:
            examples = [self.data.examples[i] for i in batch]
            masks = [example.loss_mask for example in tokens]
            # A copy, so that the row is the same however often it is built.
            row |= factor_columns(examples, masks, deepcopy(self.factor_rngs[index]))
        return row


def plan_training(data: TokenizedExamples, settings: Train) -> TrainingPlan:
    """Plan a whole run of ``settings.steps``, all with the same number of micro-batches.

    Every step has exactly ``settings.tokens_per_step`` supervised tokens. Weights are
    scaled to mean 1 over all supervised tokens of the run. Raises ValueError for an example
    that fits no step, for a step of fewer examples than micro-batches, and if all weights are 0.
    """
    rng = np.random.default_rng(settings.seed)
    with name_unfit_example(data, settings):
        steps = plan_steps(
            data.supervised,
            [example.repeats for example in data.examples],
            [example.start_fraction for example in data.examples],
            steps=settings.steps,
            tokens_per_step=settings.tokens_per_step,
            rng=rng,
        )
    per_step = _count_micro_batches(data, steps, settings)
    for number, step in enumerate(steps):
        check_step(number, step, per_step)
    total = settings.steps * settings.tokens_per_step
    mean = sum(data.examples[i].weight * data.supervised[i] for step in steps for i in step) / total
    if mean == 0:
        raise ValueError("weigh.arms: every loss weight is 0: expected one above 0")
    batches = [
        [step[position] for position in batch]
        for step in steps
        for batch in balance_micro_batches([data.lengths[i] for i in step], per_step)
    ]
    factor = loss_factor(data.examples)
    rngs = list(_factor_rngs(data, batches, rng)) if factor is not None else ()
    return TrainingPlan(data, batches, per_step, mean, factor, rngs)


def exposure_stats(plan: Plan) -> dict[str, float]:
    """Return how often a run trains on its examples, and on how many tokens.

    ``examples`` counts repeats, ``distinct_examples`` does not, and ``distinct_problems`` are
    their problems; ``max_repeats`` is how often the most frequent example occurs; ``epochs``
    are counted in supervised tokens; ``processed_tokens`` are those of prompts as well.
    """
    data = plan.data
    exposures = Counter(i for batch in plan.micro_batches for i in batch)
    # Two examples of a problem may have the same tokens, and then count as one.
    key_of = {i: (data.examples[i].problem_id, content_id(repr(data[i].ids))) for i in exposures}
    counts: Counter[tuple[str, str]] = Counter()
    for i, n_exposures in exposures.items():
        counts[key_of[i]] += n_exposures
    supervised = sum(n_exposures * data.supervised[i] for i, n_exposures in exposures.items())
    epoch = sum(
        example.repeats * n_tokens
        for example, n_tokens in zip(data.examples, data.supervised, strict=True)
    )
    return {
        "examples": counts.total(),
        "distinct_examples": len(counts),
        "distinct_problems": len({problem_id for problem_id, _ in counts}),
        "max_repeats": max(counts.values()),
        "epochs": round(supervised / epoch, 3),
        "supervised_tokens": supervised,
        "processed_tokens": sum(n * data.lengths[i] for i, n in exposures.items()),
    }


@contextmanager
def name_unfit_example(data: TokenizedExamples, settings: Train) -> Iterator[None]:
    """Name the parameter and the problem in the error for an example that fits no step."""
    try:
        yield
    except UnfitExampleError as error:
        unfit = data.examples[error.example]
        raise ValueError(
            f"train.tokens_per_step: {settings.tokens_per_step}: example of problem "
            f"{unfit.problem_id} ({unfit.prompting}): {error.reason}"
        ) from error


def check_step(number: int, step: Sequence[int], micro_batches: int) -> None:
    """Raise ValueError for a step, the first being 0, of fewer examples than micro-batches."""
    if len(step) < micro_batches:
        raise ValueError(
            f"train.micro_batches: {micro_batches}: step {number + 1} has {len(step)} "
            "examples: expected at most as many, or a larger train.tokens_per_step"
        )


def _count_micro_batches(
    data: TokenizedExamples, steps: Sequence[Sequence[int]], settings: Train
) -> int:
    """Return how many micro-batches each step needs, a multiple of the processes.

    With ``settings.row_tokens`` it is the least number with which no row of the run is longer.
    """
    if settings.row_tokens is None:
        return settings.micro_batches
    processes = count_processes(settings.launch)
    count = processes
    for step in steps:
        lengths = [data.lengths[i] for i in step]
        while max_load(lengths, count) > settings.row_tokens:
            count += processes
    return count


def _factor_rngs(
    data: TokenizedExamples, batches: Sequence[Sequence[int]], rng: np.random.Generator
) -> Iterator[np.random.Generator]:
    """Yield one RNG per micro-batch; together they reproduce sequential draws from ``rng``."""
    for batch in batches:
        yield deepcopy(rng)
        # ``factor_columns`` draws the same from the copy.
        rng.permutation(
            sum(
                count_units(data.examples[i], data.supervised[i])
                for i in batch
                if data.examples[i].factor_shuffled
            )
        )
