"""Show what becomes of files of a published data set: a command, not a stage.

Reads rows as ``prepare`` does (``stages.lib.formats.rows`` names the formats,
``stages.lib.formats.files`` the kinds of paths). Writes nothing; prints how many problems or
conversations they make, what is left out and why, how their programs ended, and the first
and the middle one as they will be learned.

    python -m tools.inspect_rows FORMAT PATH [--exclude NAME ...] [--target problems|conversations]
"""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from stages.lib.core.schema import Conversation, Problem
from stages.lib.formats.files import files_of
from stages.lib.formats.read import SourceRows, load_rows
from stages.lib.params.data import Become, Format
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import turn
from stages.lib.runtime import console


def main(format: Format, path: str, exclude: list[str], target: Become) -> None:
    """Read the files and print what they make."""
    files = files_of(path)
    sandbox = load_params().sandbox
    made = load_rows(
        files, format=format, name=format, target=target, exclude=exclude, sandbox=sandbox
    )
    for label, value in [("files", len(files)), *table(made)]:
        console.log_line(f"{label:<32}{value:>10}")
    rows = made.problems or made.conversations
    for row in {row.id: row for row in (rows[0], rows[len(rows) // 2])}.values():
        console.log_line("\n" + shown(row))


def table(made: SourceRows) -> list[tuple[str, str | int]]:
    """Return the lines that count what was read, each with its label."""
    lines: list[tuple[str, str | int]] = [
        ("rows", made.rows),
        ("problems", len(made.problems)),
        ("conversations", len(made.conversations)),
    ]
    lines += [(f"left out: {reason}", n) for reason, n in sorted(made.left_out.items())]
    lines += _counted("answer", (problem.kind for problem in made.problems))
    lines += _counted("turns", (len(one.turns) for one in made.conversations))
    lines += [(f"program: {end}", n) for end, n in sorted(made.programs.items())]
    if made.problems:
        share = sum(bool(problem.program) for problem in made.problems) / len(made.problems)
        lines.append(("problems with a program", f"{share:.1%}"))
    return lines


def shown(row: Problem | Conversation) -> str:
    """Return a row's turns as they will be learned, below its answer or its system prompt."""
    if isinstance(row, Conversation):
        turns = list(row.turns)
        head = f"system: {row.system or '(the usual one)'}"
    else:
        turns = [turn(row, "cot")] if row.solution else []
        turns += [turn(row, "pot")] if row.program else []
        head = f"answer: {row.answer} ({row.kind})"
    return "\n".join([head, *(f"> {one.question}\n{one.response}" for one in turns)])


def _counted(label: str, values: Iterable[str | int]) -> list[tuple[str, str | int]]:
    return [(f"{label}: {value}", count) for value, count in sorted(Counter(values).items())]


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("format", choices=get_args(Format))
    parser.add_argument("path")
    parser.add_argument("--exclude", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--target", choices=get_args(Become), default="problems")


if __name__ == "__main__":
    console.run_stage("read", main, more=_arguments, timed=False)
