"""Decide what one arm learns from, and how often and how heavily each example counts.

Reads the training problems, their difficulty, the base model's samples with their
verdicts, and the conversations; writes ``data/training/<arm>.parquet`` and
``reports/metrics/arms/<arm>.json`` (how much there is to learn from, and the mean level in a
pass). There is an example per problem and prompting, per correct sample taken, or per
conversation, with its repetitions, its loss weight, when it joins, and whether the model's
own probabilities weigh it.

    python -m stages.weigh ARM
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.files import write_json
from stages.lib.core.paths import (
    ARM_METRICS,
    CONVERSATIONS,
    DIFFICULTY,
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
    Turn,
)
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.difficulty.rejection_sampling import correct_samples, first_of_each
from stages.lib.difficulty.strategies import ArmPlan, plan_arm
from stages.lib.generations.store import Store
from stages.lib.params.load import load_params
from stages.lib.params.strategies import ConversationsArm, Weigh
from stages.lib.prompts.templates import ask, respond
from stages.lib.runtime import console

Completion = tuple[int, Prompting, str]
"""The place of a problem, a prompting, and the response to learn."""


def main(arm: str) -> None:
    """Weigh the examples of an arm."""
    settings = load_params().weigh
    if arm not in settings.arms:
        raise ValueError(f"weigh.arms: {arm!r}: expected one of {list(settings.arms)}")
    wanted = settings.arms[arm]
    if isinstance(wanted, ConversationsArm):
        examples, missing = _conversations(wanted), 0
    else:
        examples, missing = _problems(arm, settings)
    write_parquet(TRAINING / f"{arm}.parquet", examples)
    used = [one for one in examples if one.repeats]
    counts = {"problems": len({one.problem_id for one in used}), "examples": len(used)}
    write_json(ARM_METRICS / f"{arm}.json", counts | {"missing": missing} | _mean_level(used))


def _mean_level(used: Sequence[Example]) -> dict[str, float]:
    """Return the mean level of what counts in a pass, or nothing where no level was measured."""
    of = {row.problem_id: row.level for row in read_parquet(DIFFICULTY, Difficulty)}
    counting = [one for one in used if one.problem_id in of and one.weight]
    if not counting:
        return {}
    levels = [of[one.problem_id] for one in counting]
    counts = [one.repeats * one.weight for one in counting]
    return {"mean_level": round(float(np.average(levels, weights=counts)), 3)}


def _conversations(wanted: ConversationsArm) -> list[Example]:
    return [
        Example(one.id, one.source, "cot", one.turns, repeats=1, weight=1.0, system=one.system)
        for one in read_parquet(CONVERSATIONS, Conversation)
        if one.source in wanted.sources
    ]


def _problems(arm: str, settings: Weigh) -> tuple[list[Example], int]:
    """Return the examples that an arm makes of the problems, and how many samples are missing."""
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    of = {row.problem_id: row for row in read_parquet(DIFFICULTY, Difficulty)}
    treatment = plan_arm(
        settings.arms,
        arm,
        len(problems),
        [of[problem.id] for problem in problems] if of else [],
        seed=settings.seed_of(arm),
    )
    if treatment.samples is None:
        lessons, missing = _worked(problems, settings.prompting), 0
    else:
        lessons, missing = _sampled(
            arm, problems, treatment.samples, treatment.samples_shuffled, settings
        )
    return [
        _example(problems[i], prompting, text, treatment, i) for i, prompting, text in lessons
    ], missing


def _worked(problems: Sequence[Problem], promptings: Sequence[Prompting]) -> list[Completion]:
    """Return the worked solutions that there are, problem by problem."""
    lessons: list[Completion] = [
        (i, prompting, response)
        for i, problem in enumerate(problems)
        for prompting in promptings
        if (response := respond(problem, prompting))
    ]
    if not lessons:
        raise ValueError(
            f"weigh.prompting: {list(promptings)}: no training problem has such a solution"
        )
    return lessons


def _sampled(
    arm: str,
    problems: Sequence[Problem],
    samples: NDArray[np.int64],
    dealt: bool,
    settings: Weigh,
) -> tuple[list[Completion], int]:
    """Return the samples to learn from, problem by problem, and how many too few there are."""
    verdicts = read_parquet(SAMPLE_GRADES, SampleGrade)
    correct = correct_samples(list(Store(SAMPLES).rows()), verdicts, settings.prompting)
    if not correct:
        raise ValueError(f"weigh.arms.{arm}: no sample is correct: expected one to learn from")
    place = {problem.id: i for i, problem in enumerate(problems)}
    wanted = dict(zip(place, samples.tolist(), strict=True))
    taken = first_of_each(correct, wanted)
    asked, missing = sum(wanted.values()), sum(wanted.values()) - int(taken.sum())
    if missing:
        console.log_line(
            f"weigh-{arm}: {missing} of {asked} samples wanted are missing: too few correct"
        )
    if dealt:
        taken = np.random.default_rng(settings.seed_of(arm)).permutation(taken)
    chosen = [row for row, is_taken in zip(correct, taken, strict=True) if is_taken]
    lessons: list[Completion] = [(place[row.problem_id], row.prompting, row.text) for row in chosen]
    return sorted(lessons, key=lambda lesson: lesson[0]), missing


def _example(
    problem: Problem, prompting: Prompting, response: str, treatment: ArmPlan, i: int
) -> Example:
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting=prompting,
        turns=[Turn(ask(problem.question, prompting), response)],
        repeats=int(treatment.repeats[i]),
        weight=float(treatment.weights[i]),
        start_fraction=float(treatment.start_fraction[i]),
        focal_gamma=treatment.focal_gamma,
        focal_level=treatment.focal_level,
        focal_shuffled=treatment.focal_shuffled,
    )


if __name__ == "__main__":
    console.run_stage("weigh", main, item="arm")
