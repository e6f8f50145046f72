"""Build the training examples of one arm, with repeats, loss weights and starting times.

Reads the training problems, their difficulty, the base model's samples with their grades,
and the conversations; writes ``data/training/<arm>.parquet`` and
``reports/metrics/arms/<arm>.json`` (numbers of examples, and the mean level in an epoch).
There is one example per problem and prompting, per chosen sample, or per conversation. An
example's difficulty is that of its problem with its own prompting, if that was sampled.

    python -m stages.weigh ARM
"""

from collections.abc import Iterator, Mapping
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
    PROMPTINGS,
    Conversation,
    Difficulty,
    Example,
    Problem,
    Prompting,
    SampleGrade,
    difficulty_by_problem,
)
from stages.lib.core.tables import read_column, read_parquet, scan_parquet, write_parquet
from stages.lib.difficulty.examples import (
    Completion,
    ExampleCounts,
    chosen_samples,
    conversation_examples,
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
    rows = read_parquet(DIFFICULTY, Difficulty)
    measured: Mapping[Prompting, Mapping[str, Difficulty]] = {
        prompting: difficulty_by_problem(rows, prompting) for prompting in PROMPTINGS
    }
    n_missing = 0
    if isinstance(arm, ConversationsArm):
        examples = conversation_examples(scan_parquet(CONVERSATIONS, Conversation), arm.sources)
    else:
        examples, n_missing = build_examples(name, params, measured)
    counts = ExampleCounts(measured)
    write_parquet(TRAINING / f"{name}.parquet", counts.counted(examples))
    write_json(ARM_METRICS / f"{name}.json", counts.metrics() | {"missing": n_missing})


def build_examples(
    name: str, params: Weigh, measured: Mapping[Prompting, Mapping[str, Difficulty]]
) -> tuple[Iterator[Example], int]:
    """Return the examples of an arm of problems, and how many samples it lacks."""
    ids = read_column(TRAIN_PROBLEMS, "id")
    seed = permutation_seed(params, name)
    plans: dict[Prompting, ArmPlan] = {}
    for prompting in params.prompting:
        by_id = measured[prompting]
        in_order = [by_id[problem_id] for problem_id in ids] if by_id else []
        plans[prompting] = plan_arm(params.arms, name, len(ids), in_order, seed=seed)
    plan = plans[params.prompting[0]]
    if plan.n_samples is not None:
        shuffle_seed = seed if plan.samples_shuffled else None
        chosen, n_missing = own_samples(name, plan.n_samples, shuffle_seed, params)
        return problem_examples(chosen, plans), n_missing
    solutions = worked_solutions(scan_parquet(TRAIN_PROBLEMS, Problem), params.prompting)
    first = next(solutions, None)
    if first is None:
        raise ValueError(
            f"weigh.prompting: {params.prompting}: no training problem has such a solution"
        )
    return problem_examples(chain([first], solutions), plans), 0


def own_samples(
    name: str, n_samples: NDArray[np.int64], shuffle_seed: int | None, params: Weigh
) -> tuple[list[Completion], int]:
    """Return the base model's correct samples that an arm trains on, and how many are missing."""
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
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
