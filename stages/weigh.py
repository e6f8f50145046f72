"""Decide how often and how heavily each training example counts in one arm.

Reads the training problems and their difficulty; writes
``data/training/<arm>.parquet``: an example per problem and prompting, with its
repetitions, its loss weight, when it joins, and whether the model's own
probabilities weigh it.

    python -m stages.weigh ARM
"""

from stages.lib import console, params
from stages.lib.arms import treat
from stages.lib.paths import DIFFICULTY, TRAIN_PROBLEMS, TRAINING
from stages.lib.prompts import turn
from stages.lib.records import Difficulty, Example, Problem, read_parquet, write_parquet


def main(arm: str) -> None:
    """Weigh the examples of an arm."""
    settings = params.load().weigh
    if arm not in settings.arms:
        raise ValueError(f"weigh.arms: {arm!r}: expected one of {list(settings.arms)}")
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    of = {row.problem_id: row for row in read_parquet(DIFFICULTY, Difficulty)}
    difficulties = [of[problem.id] for problem in problems]
    treatment = treat(settings.arms, arm, difficulties, seed=settings.seed)
    examples = [
        Example(
            problem_id=problem.id,
            source=problem.source,
            prompting=prompting,
            question=turn(problem, prompting).question,
            response=turn(problem, prompting).response,
            repeats=int(treatment.repeats[i]),
            weight=float(treatment.weights[i]),
            opens=float(treatment.opens[i]),
            focal_gamma=treatment.focal_gamma,
            focal_level=treatment.focal_level,
            focal_dealt=treatment.focal_dealt,
        )
        for i, problem in enumerate(problems)
        for prompting in settings.prompting
    ]
    write_parquet(TRAINING / f"{arm}.parquet", examples)


if __name__ == "__main__":
    console.run("weigh", main, item="arm")
