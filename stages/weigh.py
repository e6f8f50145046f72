"""Build the training examples of one arm, with repeats, loss weights and starting times.

Reads the training problems, their difficulty, the base model's samples with their grades,
and the conversations; writes ``data/training/<arm>.parquet`` and
``reports/metrics/arms/<arm>.json`` (numbers of examples, and the mean level in an epoch).
There is one example per problem and prompting, per chosen sample, or per conversation. An
example's difficulty is that of its problem with its own prompting, if that was sampled.

    python -m stages.weigh ARM
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.files import write_json
from stages.lib.core.paths import (
    ARM_METRICS,
    CONVERSATIONS,
    DIFFICULTY,
    RESAMPLES,
    SAMPLE_GRADES,
    SAMPLES,
    TRAIN_PROBLEMS,
    TRAINING,
)
from stages.lib.core.schema import (
    Conversation,
    Difficulty,
    Example,
    Problem,
    Prompting,
    SampleGrade,
    difficulty_by_problem,
)
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.difficulty.examples import (
    Completion,
    chosen_samples,
    conversation_examples,
    mean_level,
    problem_examples,
    worked_solutions,
)
from stages.lib.difficulty.rejection_sampling import correct_samples
from stages.lib.difficulty.strategies import ArmPlan, permutation_seed, plan_arm
from stages.lib.generations.store import Store
from stages.lib.params.load import load_params
from stages.lib.params.strategies import ConversationsArm, Weigh
from stages.lib.runtime import console


def main(name: str) -> None:
    """Weigh the examples of an arm."""
    params = load_params().weigh
    if name not in params.arms:
        raise ValueError(f"weigh.arms: {name!r}: expected one of {list(params.arms)}")
    arm = params.arms[name]
    difficulties = read_parquet(DIFFICULTY, Difficulty)
    if isinstance(arm, ConversationsArm):
        conversations = read_parquet(CONVERSATIONS, Conversation)
        examples, n_missing = conversation_examples(conversations, arm.sources), 0
    else:
        examples, n_missing = build_examples(name, params, difficulties)
    write_parquet(TRAINING / f"{name}.parquet", examples)

    used = [example for example in examples if example.repeats]
    metrics: dict[str, float] = {
        "problems": len({example.problem_id for example in used}),
        "examples": len(used),
        "missing": n_missing,
    }
    level = mean_level(used, difficulties)
    if level is not None:
        metrics["mean_level"] = round(level, 3)
    write_json(ARM_METRICS / f"{name}.json", metrics)


def build_examples(
    name: str, params: Weigh, difficulties: Sequence[Difficulty]
) -> tuple[list[Example], int]:
    """Return the examples of an arm of problems, and how many samples it lacks."""
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    seed = permutation_seed(params, name)
    plans: dict[Prompting, ArmPlan] = {}
    for prompting in params.prompting:
        by_id = difficulty_by_problem(difficulties, prompting)
        in_order = [by_id[problem.id] for problem in problems] if by_id else []
        plans[prompting] = plan_arm(params.arms, name, len(problems), in_order, seed=seed)
    plan = plans[params.prompting[0]]
    if plan.n_samples is not None:
        shuffle_seed = seed if plan.samples_shuffled else None
        completions, n_missing = own_samples(name, problems, plan.n_samples, shuffle_seed, params)
    else:
        completions, n_missing = worked_solutions(problems, params.prompting), 0
        if not completions:
            raise ValueError(
                f"weigh.prompting: {params.prompting}: no training problem has such a solution"
            )
    return problem_examples(problems, completions, plans), n_missing


def own_samples(
    name: str,
    problems: Sequence[Problem],
    n_samples: NDArray[np.int64],
    shuffle_seed: int | None,
    params: Weigh,
) -> tuple[list[Completion], int]:
    """Return the base model's correct samples that an arm trains on, and how many are missing."""
    samples = list(chain(Store(SAMPLES).rows(), Store(RESAMPLES).rows()))
    grades = read_parquet(SAMPLE_GRADES, SampleGrade)
    correct = correct_samples(samples, grades, params.prompting)
    if not correct:
        raise ValueError(f"weigh.arms.{name}: no sample is correct: expected at least one")
    completions = chosen_samples(problems, correct, n_samples, shuffle_seed=shuffle_seed)
    n_requested = int(n_samples.sum())
    n_missing = n_requested - len(completions)
    if n_missing:
        console.log_line(
            f"weigh-{name}: {n_missing} of {n_requested} requested samples are missing: "
            "too few are correct"
        )
    return completions, n_missing


if __name__ == "__main__":
    console.run_stage("weigh", main, item="arm")
