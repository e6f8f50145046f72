"""Turn samples into difficulty: graded counts, posterior of the pass rate, level.

Reads the training problems and ``data/samples/``; writes ``data/difficulty.parquet``
and ``reports/metrics/difficulty.json``.

    python -m stages.score
"""

from collections import Counter, defaultdict

from stages.lib import console, params
from stages.lib.console import bar
from stages.lib.difficulty import measure
from stages.lib.files import write_json
from stages.lib.grading import grade
from stages.lib.paths import DIFFICULTY, METRICS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.records import Problem, Verdict, read_parquet, write_parquet
from stages.lib.sampled import maj_at_k, pass_at_k
from stages.lib.store import Store


def main() -> None:
    """Score the samples."""
    settings = params.load().score
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    by_id = {problem.id: problem for problem in problems}
    verdicts: dict[str, list[Verdict]] = {problem.id: [] for problem in problems}
    statuses: Counter[str] = Counter()
    samples = list(Store(SAMPLES).rows())
    with bar(total=len(samples), doing="score", unit="sample") as progress:
        for row in samples:
            problem = by_id[row.problem_id]
            verdict = grade(
                row.text, answer=problem.answer, kind=problem.kind, choices=problem.choices
            )
            verdicts[row.problem_id].append(verdict)
            statuses[verdict.status] += 1
            progress.update(1)
    correct = [[v.status == "correct" for v in of] for of in verdicts.values()]
    said = [[v.extracted for v in of] for of in verdicts.values()]
    tried, solved = [len(of) for of in correct], [sum(of) for of in correct]
    k = min(tried)
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
    by_source = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row.pass_rate)
    write_json(
        METRICS / "difficulty.json",
        {
            "pass_rate": {
                source: round(sum(rates) / len(rates), 3) for source, rates in by_source.items()
            },
            "samples": dict(statuses),
            "pass_at_1": round(float(pass_at_k(solved, tried, k=1).mean()), 3),
            f"pass_at_{k}": round(float(pass_at_k(solved, tried, k=k).mean()), 3),
            f"maj_at_{k}": round(float(maj_at_k(said, correct, k=k).mean()), 3),
        },
    )


if __name__ == "__main__":
    console.run("score", main)
