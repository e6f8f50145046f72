"""Difficulty of every problem, and its summary, from the graded samples."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from stages.lib.core.schema import Difficulty, Problem, Prompting, PublishedDifficulty, SampleGrade
from stages.lib.difficulty.posterior import estimate_difficulties
from stages.lib.grading.pass_at_k import maj_at_k, pass_at_k, vote_of
from stages.lib.params.sampling import LevelDefinition, Score


def grades_by_problem(
    problems: Sequence[Problem], grades: Sequence[SampleGrade]
) -> dict[Prompting, list[list[SampleGrade]]]:
    """Return the grades of each problem's samples, by prompting; in the order of the problems."""
    index_of = {problem.id: i for i, problem in enumerate(problems)}
    by_prompting: dict[Prompting, list[list[SampleGrade]]] = {}
    for grade in grades:
        if grade.prompting not in by_prompting:
            by_prompting[grade.prompting] = [[] for _ in problems]
        by_prompting[grade.prompting][index_of[grade.problem_id]].append(grade)
    return by_prompting


def score_problems(
    problems: Sequence[Problem],
    prompting: Prompting,
    grades: Sequence[Sequence[SampleGrade]],
    definition: LevelDefinition,
    params: Score,
) -> list[Difficulty]:
    """Return the difficulty of each problem with a prompting; ``grades[i]`` are of problem i."""
    return estimate_difficulties(
        [problem.source for problem in problems],
        [problem.id for problem in problems],
        [sum(grade.status == "correct" for grade in of_problem) for of_problem in grades],
        [len(of_problem) for of_problem in grades],
        prompting=prompting,
        levels=params.levels,
        definition=definition,
        interval=params.interval,
    )


def published_difficulties(problems: Sequence[Problem]) -> list[Difficulty]:
    """Return the difficulties that the data sets of the problems state.

    Raises ValueError naming a problem that has none.
    """
    for problem in problems:
        if not problem.published:
            raise ValueError(
                f"score.definition: 'published': {problem.source}: {problem.question[:60]!r} has "
                "no difficulty: expected err_rate and difficulty_level in every row"
            )
    return [_published(problem, row) for problem in problems for row in problem.published]


def _published(problem: Problem, row: PublishedDifficulty) -> Difficulty:
    # Rounded, as 1 - 0.9 is below 0.1, which would fall out of a band from 0.1.
    rate = round(1 - row.fail_rate, 12)
    return Difficulty(
        problem_id=problem.id,
        prompting=row.prompting,
        source=problem.source,
        n=0,
        n_correct=0,
        pass_rate=rate,
        posterior_mean=rate,
        low=rate,
        high=rate,
        level=float(row.level),
    )


def difficulty_metrics(
    problems: Sequence[Problem],
    grades: Sequence[Sequence[SampleGrade]],
    difficulties: Sequence[Difficulty],
) -> dict[str, Any]:
    """Return pass rates by source, shares of levels, statuses, pass@1, pass@k and maj@k.

    k is the least n. ``grades[i]`` and ``difficulties[i]`` are of problem i.

    With sequential sampling, the samples of a problem decide how many it has, and its plain
    rate is biased. Every problem has its first k samples, whatever they are.
    """
    k = min(len(of_problem) for of_problem in grades)
    correct = [[grade.status == "correct" for grade in of_problem[:k]] for of_problem in grades]
    votes = [
        [vote_of(grade.extracted, grade.status) for grade in of_problem[:k]]
        for of_problem in grades
    ]
    n_correct, n = [sum(flags) for flags in correct], [k] * len(correct)
    rates_by_source = defaultdict(list)
    for problem, count in zip(problems, n_correct, strict=True):
        rates_by_source[problem.source].append(count / k)
    return {
        "pass_rate": {
            source: round(sum(rates) / len(rates), 3) for source, rates in rates_by_source.items()
        },
        "levels": {
            f"{level:g}": round(count / len(problems), 3)
            for level, count in sorted(Counter(row.level for row in difficulties).items())
        },
        "samples": dict(Counter(grade.status for of_problem in grades for grade in of_problem)),
        "pass_at_1": round(float(pass_at_k(n_correct, n, k=1).mean()), 3),
        f"pass_at_{k}": round(float(pass_at_k(n_correct, n, k=k).mean()), 3),
        f"maj_at_{k}": round(float(maj_at_k(votes, correct, k=k).mean()), 3),
    }
