"""Training examples of an arm: from problems, the model's own samples, or conversations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import (
    PROMPTINGS,
    Conversation,
    Difficulty,
    Example,
    Generation,
    Problem,
    Prompting,
    Turn,
    difficulty_by_problem,
)
from stages.lib.difficulty.rejection_sampling import take_first
from stages.lib.difficulty.strategies import ArmPlan
from stages.lib.prompts.templates import model_response, user_message


@dataclass(frozen=True, slots=True)
class Completion:
    """A response to train on; ``problem`` is the index of its problem."""

    problem: int
    prompting: Prompting
    response: str


def worked_solutions(
    problems: Sequence[Problem], promptings: Sequence[Prompting]
) -> list[Completion]:
    """Return the worked solutions of the problems, in order; some have none for a prompting."""
    return [
        Completion(i, prompting, response)
        for i, problem in enumerate(problems)
        for prompting in promptings
        if (response := model_response(problem, prompting))
    ]


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
        Completion(index_of[row.problem_id], row.prompting, row.text)
        for row, is_chosen in zip(correct, mask, strict=True)
        if is_chosen
    ]
    return sorted(completions, key=lambda completion: completion.problem)


def problem_examples(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    plans: Mapping[Prompting, ArmPlan],
) -> list[Example]:
    """Return one example per completion, with the numbers of its problem in its plan."""
    return [_example(problems[row.problem], row, plans[row.prompting]) for row in completions]


def conversation_examples(
    conversations: Sequence[Conversation], sources: Sequence[str]
) -> list[Example]:
    """Return one example per conversation of the given sources."""
    return [
        Example(row.id, row.source, "cot", row.turns, repeats=1, weight=1.0, system=row.system)
        for row in conversations
        if row.source in sources
    ]


def mean_level(examples: Sequence[Example], difficulties: Sequence[Difficulty]) -> float | None:
    """Return the mean level per epoch, by repeats and weights; None if no level was measured."""
    measured = {p: difficulty_by_problem(difficulties, p) for p in PROMPTINGS}
    counted = [row for row in examples if row.weight and row.problem_id in measured[row.prompting]]
    if not counted:
        return None
    levels = [measured[row.prompting][row.problem_id].level for row in counted]
    return float(np.average(levels, weights=[row.repeats * row.weight for row in counted]))


def _example(problem: Problem, completion: Completion, plan: ArmPlan) -> Example:
    i = completion.problem
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
