"""Gather problems and conversations to learn from, in-context demonstrations, and benchmarks.

Reads what ``prepare`` names. Writes ``data/problems/train.parquet``, beside it
``demonstrations.parquet`` (taken out of the training problems), ``conversations.parquet``
and ``eval/<benchmark>.parquet``. What overlaps with a benchmark is dropped;
``reports/metrics/data.json`` counts it, ``reports/data/overlaps.csv`` shows examples, and
``sources.csv`` says where each part comes from.

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
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Conversation, Problem
from stages.lib.core.tables import write_csv, write_parquet
from stages.lib.data.build import Part, build_datasets
from stages.lib.data.decontamination import Overlap, overlaps
from stages.lib.data.problems import check_problems, split_first
from stages.lib.grading.grader import check_answer
from stages.lib.params.data import Prepare
from stages.lib.params.load import load_params
from stages.lib.runtime import console

EXAMPLES = 10
COLUMNS = ("benchmark", "kind", "training_id", "training_text", "benchmark_text", "words")

Asked = tuple[str, str]
"""The id of a problem or conversation, and a question in it."""


def main() -> None:
    """Gather the problems."""
    wanted = load_params()
    settings = wanted.prepare
    training, benchmarks = build_datasets(settings, wanted.sandbox)
    problems = [problem for part in training for problem in part.problems]
    conversations = [one for part in training for one in part.conversations]
    if problems or not conversations:
        check_usable("prepare.train", problems)
    for part in benchmarks:
        check_usable(part.name, part.problems)
    questions = questions_of(problems, conversations)
    dropped, examples = compare(questions, benchmarks, settings)
    bad = set().union(*dropped.values())
    shown, kept = demonstrations(
        [one for one in problems if one.id not in bad], per_source=settings.demonstrations
    )
    talk = [one for one in conversations if one.id not in bad]
    if not kept and not talk:
        raise ValueError("prepare.train: nothing is left that overlaps with no benchmark")
    write_parquet(TRAIN_PROBLEMS, kept, may_be_empty=Problem)
    write_parquet(DEMONSTRATIONS, shown, may_be_empty=Problem)
    write_parquet(CONVERSATIONS, talk, may_be_empty=Conversation)
    for part in benchmarks:
        write_parquet(EVAL_PROBLEMS / f"{part.name}.parquet", part.problems)
    write_csv(DATA_REPORTS / "overlaps.csv", examples, columns=COLUMNS)
    write_csv(
        DATA_REPORTS / "sources.csv",
        [source_row(part, "train", bad, {one.id for one in shown}) for part in training]
        + [source_row(part, "benchmark", set(), set()) for part in benchmarks],
    )
    sizes = {part.name: len(part.problems) for part in benchmarks}
    write_json(
        METRICS / "data.json",
        {
            "problems": {"train": len(kept), **sizes},
            "conversations": len(talk),
            "dropped_for_overlap": {name: len(of) for name, of in dropped.items()},
            "programs": {part.name: part.programs for part in training if part.programs},
        },
    )


def check_usable(where: str, problems: Sequence[Problem]) -> None:
    """Raise ValueError, beginning with ``where``, for problems that could not be graded."""
    check_problems(problems, where=where)
    for problem in problems:
        check_answer(problem.answer, problem.kind, problem.choices)


def compare(
    questions: Sequence[Asked], benchmarks: Sequence[Part], settings: Prepare
) -> tuple[dict[str, set[str]], list[dict[str, str]]]:
    """Return the ids of what overlaps with each benchmark, and examples of it."""
    dropped: dict[str, set[str]] = {}
    examples: list[dict[str, str]] = []
    for part in benchmarks:
        dropped[part.name] = set()
        against = [problem.question for problem in part.problems]
        for kind, n, is_template in checks(settings, part.name):
            texts = (text for _, text in questions)
            found = overlaps(texts, against, n=n, normalise_numbers=is_template)
            dropped[part.name] |= {questions[one.training][0] for one in found}
            examples += [example(questions, part, kind, one) for one in found[:EXAMPLES]]
    return dropped, examples


def checks(settings: Prepare, benchmark: str) -> list[tuple[str, int, bool]]:
    """Return the n-gram checks against a benchmark: name, words, are numbers left out.

    The second leaves ladder benchmarks out: ladder problems share their wording by
    design, and differ in their numbers.
    """
    as_written = ("words", settings.overlap.words, False)
    if settings.benchmarks[benchmark].source == "ladder":
        return [as_written]
    return [as_written, ("template", settings.overlap.template_words, True)]


def questions_of(problems: Sequence[Problem], conversations: Sequence[Conversation]) -> list[Asked]:
    """Return every question with the id of its problem or conversation, each turn by itself."""
    return [(one.id, one.question) for one in problems] + [
        (one.id, turn.question) for one in conversations for turn in one.turns
    ]


def demonstrations(
    problems: Sequence[Problem], *, per_source: int
) -> tuple[list[Problem], list[Problem]]:
    """Return in-context examples, and the problems without them.

    They are the first of each source, before all those with both a solution and a program.
    """
    fit_first = sorted(problems, key=lambda one: not (one.solution and one.program))
    shown = {one.id for one in split_first(fit_first, per_source=per_source)[0]}
    return [one for one in problems if one.id in shown], [
        one for one in problems if one.id not in shown
    ]


def example(
    questions: Sequence[Asked], benchmark: Part, kind: str, found: Overlap
) -> dict[str, str]:
    """Return an overlap as a row for people to read."""
    identity, text = questions[found.training]
    question = benchmark.problems[found.evaluation].question
    values = (benchmark.name, kind, identity, text, question, found.words)
    return dict(zip(COLUMNS, values, strict=True))


def source_row(part: Part, role: str, bad: set[str], shown: set[str]) -> dict[str, str | int]:
    """Return where a part comes from and what became of its rows."""
    ids = [one.id for one in (*part.problems, *part.conversations)]
    overlapping = sum(one in bad for one in ids)
    in_context = sum(one in shown for one in ids)
    left_out = Counter(part.left_out) + Counter({"shown in context": in_context})
    return {
        "name": part.name,
        "role": role,
        **asdict(part.origin),
        "rows": part.rows,
        "used": len(ids) - overlapping - in_context,
        "left_out": "; ".join(f"{reason}: {n}" for reason, n in sorted(left_out.items()) if n),
        "overlapping": overlapping,
    }


if __name__ == "__main__":
    console.run_stage("prepare", main)
