"""Show how rows of a published data set are parsed, as problems or as conversations.

Reads rows as ``prepare`` does (``stages.lib.formats.rows`` lists the formats,
``stages.lib.formats.files`` the kinds of paths). Writes nothing. Prints the numbers of problems
and conversations, of skipped rows by reason and of programs by outcome, and the first
and the middle row as they are trained on.

    python -m tools.inspect_rows FORMAT PATH [--exclude NAME ...] [--target problems|conversations]
"""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from stages.lib.core.schema import Conversation, Problem
from stages.lib.formats.files import find_files
from stages.lib.formats.read import SourceRows, load_rows
from stages.lib.params.data import Format, Target
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import as_turn
from stages.lib.runtime import console


def main(format: Format, path: str, exclude: list[str], target: Target) -> None:
    """Load the files and print their counts and two of their rows."""
    files = find_files(path)
    sandbox = load_params().sandbox
    source = load_rows(
        files, format=format, name=format, target=target, exclude=exclude, sandbox=sandbox
    )
    for label, value in [("files", len(files)), *count_rows(source)]:
        console.log_line(f"{label:<32}{value:>10}")
    rows = source.problems or source.conversations
    # A dictionary, because the first and the middle row may be the same.
    for row in {row.id: row for row in (rows[0], rows[len(rows) // 2])}.values():
        console.log_line("\n" + format_row(row))


def count_rows(source: SourceRows) -> list[tuple[str, str | int]]:
    """Return the counts of what was loaded, each with its label."""
    counts: list[tuple[str, str | int]] = [
        ("rows", source.n_rows),
        ("problems", len(source.problems)),
        ("conversations", len(source.conversations)),
    ]
    counts += [(f"skipped: {reason}", n) for reason, n in sorted(source.skipped.items())]
    counts += _count_values("answer", (problem.kind for problem in source.problems))
    counts += _count_values("turns", (len(row.turns) for row in source.conversations))
    counts += [(f"program: {outcome}", n) for outcome, n in sorted(source.programs.items())]
    if source.problems:
        share = sum(bool(problem.program) for problem in source.problems) / len(source.problems)
        counts.append(("problems with a program", f"{share:.1%}"))
    return counts


def format_row(row: Problem | Conversation) -> str:
    """Return a row's answer or system prompt, and its turns as they are trained on."""
    if isinstance(row, Conversation):
        turns = list(row.turns)
        head = f"system: {row.system or '(that of the run)'}"
    else:
        turns = [as_turn(row, "cot")] if row.solution else []
        turns += [as_turn(row, "pot")] if row.program else []
        head = f"answer: {row.answer} ({row.kind})"
    return "\n".join([head, *(f"> {turn.question}\n{turn.response}" for turn in turns)])


def _count_values(label: str, values: Iterable[str | int]) -> list[tuple[str, str | int]]:
    return [(f"{label}: {value}", count) for value, count in sorted(Counter(values).items())]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("format", choices=get_args(Format), help="the layout of the rows")
    parser.add_argument("path", help="a file, a folder, a pattern or hub:ORG/NAME@COMMIT/PATTERN")
    parser.add_argument(
        "--exclude", nargs="*", default=[], metavar="NAME", help="sources of rows to skip"
    )
    parser.add_argument(
        "--target", choices=get_args(Target), default="problems", help="what a row becomes"
    )


if __name__ == "__main__":
    console.run_stage("inspect_rows", main, add_arguments=_arguments, timed=False)
