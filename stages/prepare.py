"""Collect training problems and conversations, in-context demonstrations, and benchmarks.

Reads the sources that ``prepare`` names. Writes to ``data/problems/``: ``train.parquet``,
``demonstrations.parquet`` (taken out of the training problems), ``conversations.parquet``,
``eval/<benchmark>.parquet``, and ``passages.parquet``, text for calibration. Rows that
overlap with a benchmark are dropped: ``reports/metrics/data.json`` counts them,
``reports/data/overlaps.csv`` shows examples. ``reports/data/sources.csv`` lists the
provenance of each data source.

    python -m stages.prepare
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from stages.lib.core.files import write_json
from stages.lib.core.paths import (
    CONVERSATIONS,
    DATA_REPORTS,
    DEMONSTRATIONS,
    EVAL_PROBLEMS,
    METRICS,
    PASSAGES,
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Conversation, Passage, Problem
from stages.lib.core.tables import write_csv, write_parquet
from stages.lib.data.build import DataSource, build_datasets
from stages.lib.data.decontamination import find_overlaps
from stages.lib.data.packaged import passages
from stages.lib.data.problems import check_problems
from stages.lib.grading.grader import check_answer
from stages.lib.params.data import Prepare
from stages.lib.params.load import load_params
from stages.lib.runtime import console

MAX_EXAMPLES = 10
COLUMNS = ("benchmark", "kind", "training_id", "training_text", "benchmark_text", "words")

TrainingQuestion = tuple[str, str]
"""The id of a problem or conversation, and a question in it."""


def main() -> None:
    """Build the data sets, drop rows that overlap with a benchmark, and write them."""
    params = load_params()
    settings = params.prepare
    training, benchmarks = build_datasets(settings, params.sandbox)
    problems = [problem for source in training for problem in source.rows.problems]
    conversations = [row for source in training for row in source.rows.conversations]
    if problems or not conversations:
        check_usable("prepare.train", problems)
    for benchmark in benchmarks:
        check_usable(f"prepare.benchmarks.{benchmark.name}", benchmark.rows.problems)
    check_disjoint(benchmarks)

    questions = list_questions(problems, conversations)
    overlapping, examples = compare(questions, benchmarks, settings)
    dropped = set().union(*overlapping.values())
    # Demonstrations are chosen from what is left, so that none of them overlaps either.
    demonstrations, kept_problems = split_demonstrations(
        [problem for problem in problems if problem.id not in dropped],
        per_source=settings.demonstrations,
    )
    kept_conversations = [row for row in conversations if row.id not in dropped]
    if not kept_problems and not kept_conversations:
        raise ValueError("prepare.train: every problem overlaps with a benchmark: expected others")

    write_parquet(TRAIN_PROBLEMS, kept_problems, may_be_empty=Problem)
    write_parquet(DEMONSTRATIONS, demonstrations, may_be_empty=Problem)
    write_parquet(CONVERSATIONS, kept_conversations, may_be_empty=Conversation)
    write_parquet(PASSAGES, [Passage(text) for text in passages()])
    for benchmark in benchmarks:
        write_parquet(EVAL_PROBLEMS / f"{benchmark.name}.parquet", benchmark.rows.problems)
    write_csv(DATA_REPORTS / "overlaps.csv", examples, columns=COLUMNS)
    in_context = {problem.id for problem in demonstrations}
    write_csv(
        DATA_REPORTS / "sources.csv",
        [source_row(source, "train", dropped, in_context) for source in training]
        + [source_row(benchmark, "benchmark", set(), set()) for benchmark in benchmarks],
    )
    sizes = {benchmark.name: len(benchmark.rows.problems) for benchmark in benchmarks}
    write_json(
        METRICS / "data.json",
        {
            "problems": {"train": len(kept_problems), **sizes},
            "conversations": len(kept_conversations),
            "dropped_for_overlap": {name: len(ids) for name, ids in overlapping.items()},
            "programs": {
                source.name: source.rows.programs for source in training if source.rows.programs
            },
        },
    )


def check_usable(where: str, problems: Sequence[Problem]) -> None:
    """Raise ValueError, beginning with ``where``, for problems that cannot be graded."""
    check_problems(problems, where=where)
    for problem in problems:
        try:
            check_answer(problem.answer, problem.kind, problem.choices)
        except ValueError as error:
            raise ValueError(f"{where}: {problem.id}: {error}") from error


def check_disjoint(benchmarks: Sequence[DataSource]) -> None:
    """Raise ValueError for a problem of two benchmarks, whose answers only one would get."""
    benchmark_of: dict[str, str] = {}
    for benchmark in benchmarks:
        for problem in benchmark.rows.problems:
            other = benchmark_of.setdefault(problem.id, benchmark.name)
            if other != benchmark.name:
                raise ValueError(
                    f"prepare.benchmarks.{benchmark.name}: problem {problem.id}: also in {other}: "
                    "expected different problems"
                )


def list_questions(
    problems: Sequence[Problem], conversations: Sequence[Conversation]
) -> list[TrainingQuestion]:
    """Return every question, those of a conversation one by one, with the id of its row."""
    return [(problem.id, problem.question) for problem in problems] + [
        (row.id, turn.question) for row in conversations for turn in row.turns
    ]


def compare(
    questions: Sequence[TrainingQuestion], benchmarks: Sequence[DataSource], settings: Prepare
) -> tuple[dict[str, set[str]], list[dict[str, str]]]:
    """Return the ids of the rows that overlap with each benchmark, and example overlaps."""
    overlapping: dict[str, set[str]] = {}
    examples: list[dict[str, str]] = []
    for benchmark in benchmarks:
        overlapping[benchmark.name] = set()
        benchmark_texts = [problem.question for problem in benchmark.rows.problems]
        for kind, n, mask_numbers in overlap_checks(settings, benchmark.name):
            overlaps = find_overlaps(
                (text for _, text in questions), benchmark_texts, n=n, mask_numbers=mask_numbers
            )
            overlapping[benchmark.name] |= {questions[overlap.training][0] for overlap in overlaps}
            for overlap in overlaps[:MAX_EXAMPLES]:
                texts = (*questions[overlap.training], benchmark_texts[overlap.evaluation])
                values = (benchmark.name, kind, *texts, overlap.words)
                examples.append(dict(zip(COLUMNS, values, strict=True)))
    return overlapping, examples


def overlap_checks(settings: Prepare, benchmark: str) -> list[tuple[str, int, bool]]:
    """Return the n-gram checks against a benchmark: kind, n in words, whether numbers are masked.

    Ladder benchmarks have no check with masked numbers: ladder problems share their wording
    by design, and differ in their numbers.
    """
    as_written = ("words", settings.overlap.words, False)
    if settings.benchmarks[benchmark].source == "ladder":
        return [as_written]
    return [as_written, ("template", settings.overlap.template_words, True)]


def split_demonstrations(
    problems: Sequence[Problem], *, per_source: int
) -> tuple[list[Problem], list[Problem]]:
    """Return in-context examples, and the problems without them.

    They are the first of each source, those with both a solution and a program before others.
    """
    complete_first = sorted(
        problems, key=lambda problem: not (problem.solution and problem.program)
    )
    chosen: set[str] = set()
    n_chosen: Counter[str] = Counter()
    for problem in complete_first:
        if n_chosen[problem.source] < per_source:
            n_chosen[problem.source] += 1
            chosen.add(problem.id)
    return (
        [problem for problem in problems if problem.id in chosen],
        [problem for problem in problems if problem.id not in chosen],
    )


def source_row(
    source: DataSource, role: str, dropped: set[str], in_context: set[str]
) -> dict[str, str | int]:
    """Return the provenance of a data source, and how many of its rows are used or not, and why."""
    ids = [row.id for row in (*source.rows.problems, *source.rows.conversations)]
    n_dropped = sum(row_id in dropped for row_id in ids)
    n_in_context = sum(row_id in in_context for row_id in ids)
    skipped = Counter(source.rows.skipped) + Counter({"shown in context": n_in_context})
    return {
        "name": source.name,
        "role": role,
        **asdict(source.provenance),
        "rows": source.rows.n_rows,
        "used": len(ids) - n_dropped - n_in_context,
        "left_out": "; ".join(f"{reason}: {n}" for reason, n in sorted(skipped.items()) if n),
        "overlapping": n_dropped,
    }


if __name__ == "__main__":
    console.run_stage("prepare", main)
