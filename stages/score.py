"""Grade the samples, and estimate the difficulty of every problem: pass rate and level.

Difficulty is measured for each prompting of ``sample.prompting`` by itself. Reads the training
problems, ``data/samples/`` and ``data/resamples/``; writes ``data/sample_grades.parquet``,
``data/difficulty.parquet`` and ``reports/metrics/difficulty.json``. Without samples
(``sample.k: 0``) difficulty is what the data set states (``score.definition: published``), or
there is none, and the tables are empty.

    python -m stages.score
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, tee

from stages.lib.core.files import write_json
from stages.lib.core.paths import (
    DIFFICULTY,
    METRICS,
    RESAMPLES,
    SAMPLE_GRADES,
    SAMPLES,
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Difficulty, Problem, Prompting, SampleGrade
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.difficulty.summary import (
    difficulty_metrics,
    grades_by_problem,
    published_difficulties,
    score_problems,
)
from stages.lib.generations.store import Store
from stages.lib.grading.batch import grade_batch, submission
from stages.lib.params.load import load_params
from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console


def main() -> None:
    """Score the samples."""
    params = load_params()
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    grades, generated = grade_samples(problems, params.sandbox)
    definition = params.score.definition
    difficulties, metrics = [], {}
    if definition == "published":
        difficulties = published_difficulties(problems)
    else:
        for prompting, by_problem in grades_by_problem(problems, grades).items():
            rows = score_problems(problems, prompting, by_problem, definition, params.score)
            difficulties += rows
            metrics[prompting] = difficulty_metrics(problems, by_problem, rows)
            metrics[prompting]["generated_tokens"] = generated[prompting]
    write_parquet(SAMPLE_GRADES, grades, may_be_empty=SampleGrade)
    write_parquet(DIFFICULTY, difficulties, may_be_empty=Difficulty)
    write_json(METRICS / "difficulty.json", metrics)


def grade_samples(
    problems: Sequence[Problem], limits: SandboxLimits
) -> tuple[list[SampleGrade], Counter[Prompting]]:
    """Return the grades of all samples, those of further rounds last, and their tokens.

    The tokens that were generated are counted by prompting.
    """
    by_id = {problem.id: problem for problem in problems}
    # The texts of all samples may not fit into memory: both readers advance together.
    rows, rows_to_grade = tee(chain(Store(SAMPLES).rows(), Store(RESAMPLES).rows()))
    submissions = (submission(by_id[row.problem_id], row) for row in rows_to_grade)
    grades: list[SampleGrade] = []
    generated: Counter[Prompting] = Counter()
    for row, graded in zip(rows, grade_batch(submissions, limits), strict=True):
        generated[row.prompting] += row.n_tokens
        grades.append(
            SampleGrade(
                problem_id=by_id[row.problem_id].id,  # one string for all rows of a problem
                prompting=row.prompting,
                index=row.index,
                status=graded.grade.status,
                extracted=graded.grade.extracted,
            )
        )
    return grades, generated


if __name__ == "__main__":
    console.run_stage("score", main)
