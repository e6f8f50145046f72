"""Training examples of an arm: from problems, the model's own samples, or conversations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import (
    Conversation,
    Difficulty,
    Example,
    Generation,
    Problem,
    Prompting,
    Turn,
)
from stages.lib.difficulty.rejection_sampling import take_first
from stages.lib.difficulty.strategies import ArmPlan
from stages.lib.prompts.templates import model_response, user_message


@dataclass(frozen=True, slots=True)
class Completion:
    """A response to train on; ``index`` is the position of its problem among all."""

    index: int
    problem: Problem
    prompting: Prompting
    response: str


def worked_solutions(
    problems: Iterable[Problem], promptings: Sequence[Prompting]
) -> Iterator[Completion]:
    """Yield the worked solutions of the problems, in order; some have none for a prompting."""
    for index, problem in enumerate(problems):
        for prompting in promptings:
            if response := model_response(problem, prompting):
                yield Completion(index, problem, prompting, response)


def chosen_samples(
    problems: Sequence[Problem],
    correct: Sequence[Generation],
    n_samples: NDArray[np.int64],
    *,
    shuffle_seed: int | None,
) -> list[Completion]:
    """Select up to ``n_samples[i]`` correct samples of problem i, in the order of the problems.

    ``n_samples`` is (n,). With ``shuffle_seed``, the same number is drawn at random from all
    problems' samples.
    """
    index_of = {problem.id: i for i, problem in enumerate(problems)}
    mask = take_first(correct, dict(zip(index_of, n_samples.tolist(), strict=True)))
    if shuffle_seed is not None:
        mask = np.random.default_rng(shuffle_seed).permutation(mask)
    completions = [
        Completion(i := index_of[row.problem_id], problems[i], row.prompting, row.text)
        for row, is_chosen in zip(correct, mask, strict=True)
        if is_chosen
    ]
    return sorted(completions, key=lambda completion: completion.index)


def problem_examples(
    completions: Iterable[Completion], plans: Mapping[Prompting, ArmPlan]
) -> Iterator[Example]:
    """Yield one example per completion, with the numbers of its problem in its plan."""
    for completion in completions:
        yield _example(completion, plans[completion.prompting])


def conversation_examples(
    conversations: Iterable[Conversation], sources: Sequence[str]
) -> Iterator[Example]:
    """Yield one example per conversation of the given sources."""
    for row in conversations:
        if row.source in sources:
            yield Example(
                row.id, row.source, "cot", row.turns, repeats=1, weight=1.0, system=row.system
            )


class ExampleCounts:
    """How many examples an arm trains on, of how many problems, and their mean level."""

    def __init__(self, measured: Mapping[Prompting, Mapping[str, Difficulty]]) -> None:
        """Count from zero. ``measured`` has the difficulty of each problem by its id."""
        self._measured = measured
        self._problem_ids: set[str] = set()
        self._examples = 0
        self._level_sum = self._weight_sum = 0.0

    def counted(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield the examples, all of them, and count those with repeats on the way."""
        for example in examples:
            if example.repeats:
                self._count(example)
            yield example

    def _count(self, example: Example) -> None:
        self._examples += 1
        self._problem_ids.add(example.problem_id)
        difficulty = self._measured[example.prompting].get(example.problem_id)
        if difficulty is not None:
            weight = example.repeats * example.weight
            self._level_sum += weight * difficulty.level
            self._weight_sum += weight

    def metrics(self) -> dict[str, float]:
        """Return the counts; ``mean_level``, by repeats and weights, if one was measured."""
        counts: dict[str, float] = {
            "problems": len(self._problem_ids),
            "examples": self._examples,
        }
        if self._weight_sum:
            counts["mean_level"] = round(self._level_sum / self._weight_sum, 3)
        return counts


def _example(completion: Completion, plan: ArmPlan) -> Example:
    i, problem = completion.index, completion.problem
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting=completion.prompting,
        turns=[Turn(user_message(problem.question, completion.prompting), completion.response)],
        repeats=int(plan.repeats[i]),
        weight=float(plan.weights[i]),
        start_fraction=float(plan.start_fraction[i]),
        factor=plan.factor,
        factor_power=plan.factor_power,
        factor_unit=plan.factor_unit,
        factor_shuffled=plan.factor_shuffled,
        anchor=plan.anchor,
    )
