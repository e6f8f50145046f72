"""Turn samples into verdicts, and verdicts into difficulty: posterior of the pass rate, level.

Difficulty is that of reasoning: sampled programs get their verdicts, since arms may
learn from them, and do not count for it. Reads the training problems and
``data/samples/``; writes ``data/sample_verdicts.parquet``, ``data/difficulty.parquet``
and ``reports/metrics/difficulty.json``.

Without samples (``sample.k: 0``) there is no difficulty, and the tables are empty.

    python -m stages.score
"""

from collections import Counter, defaultdict
from itertools import tee

from stages.lib.core.files import write_json
from stages.lib.core.paths import DIFFICULTY, METRICS, SAMPLE_GRADES, SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem, SampleGrade
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.difficulty.pass_at_k import maj_at_k, pass_at_k
from stages.lib.difficulty.posterior import measure
from stages.lib.generations.store import Store
from stages.lib.grading.batch import grade_batch, submission
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main() -> None:
    """Score the samples."""
    wanted = load_params()
    settings = wanted.score
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    by_id = {problem.id: problem for problem in problems}
    samples, asked = tee(Store(SAMPLES).rows())
    answers = (submission(by_id[row.problem_id], row) for row in asked)
    judged = grade_batch(answers, wanted.sandbox)
    graded = [
        SampleGrade(
            problem_id=by_id[row.problem_id].id,  # one string for all of its rows
            prompting=row.prompting,
            index=row.index,
            status=one.verdict.status,
            extracted=one.verdict.extracted,
        )
        for row, one in zip(samples, judged, strict=True)
    ]
    write_parquet(SAMPLE_GRADES, graded, may_be_empty=SampleGrade)
    if not graded:
        write_parquet(DIFFICULTY, [], may_be_empty=Difficulty)
        write_json(METRICS / "difficulty.json", {})
        return
    verdicts: dict[str, list[SampleGrade]] = {problem.id: [] for problem in problems}
    reasoned = [one for one in graded if one.prompting == "cot"]
    for one in reasoned:
        verdicts[one.problem_id].append(one)
    correct = [[v.status == "correct" for v in of] for of in verdicts.values()]
    said = [[v.extracted for v in of] for of in verdicts.values()]
    tried, solved = [len(of) for of in correct], [sum(of) for of in correct]
    rows = measure(
        [problem.source for problem in problems],
        list(verdicts),
        solved,
        tried,
        levels=settings.levels,
        definition=settings.definition,
        interval=settings.interval,
    )
    write_parquet(DIFFICULTY, rows)
    # With sequential sampling, what a problem's samples say decides how many it has, and
    # their plain rate is biased. Everyone has the first k, whatever they say.
    k = min(tried)
    first, of_first = [sum(of[:k]) for of in correct], [k] * len(correct)
    by_source = defaultdict(list)
    for problem, right in zip(problems, first, strict=True):
        by_source[problem.source].append(right / k)
    write_json(
        METRICS / "difficulty.json",
        {
            "pass_rate": {
                source: round(sum(rates) / len(rates), 3) for source, rates in by_source.items()
            },
            "samples": dict(Counter(one.status for one in reasoned)),
            "pass_at_1": round(float(pass_at_k(first, of_first, k=1).mean()), 3),
            f"pass_at_{k}": round(float(pass_at_k(first, of_first, k=k).mean()), 3),
            f"maj_at_{k}": round(float(maj_at_k(said, correct, k=k).mean()), 3),
        },
    )


if __name__ == "__main__":
    console.run_stage("score", main)
