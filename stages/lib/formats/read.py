"""Published data sets as problems or conversations: files read, merged, checked and counted.

Rows of one question become one problem: MathInstruct has its reasoned solution and its
program in two rows. Every program is run in the sandbox. It gives the answer where no
solution states one, and is dropped where it does not agree with the one stated.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.lib.core.schema import Conversation, Problem
from stages.lib.formats.files import raw_rows
from stages.lib.formats.parsed import ParsedProblem, as_conversation, as_problem
from stages.lib.formats.reference_answer import ReferenceAnswer, as_answer
from stages.lib.formats.rows import parse
from stages.lib.grading.grader import check_answer, grade_program
from stages.lib.grading.multiple_choice import find_option
from stages.lib.params.data import Become, Format
from stages.lib.params.sampling import SandboxLimits
from stages.lib.prompts.choices import split_choices
from stages.lib.runtime import console
from stages.lib.sandbox.pool import ProgramResult, run_programs

_SINGLE = re.compile(r"[\[({]([^,]+),?[\])}]")
Numbered = tuple[str, dict[str, Any]]
"""A raw row behind the words that name it in an error."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What became of ``rows`` raw rows.

    ``left_out`` counts those that nothing is made of, by reason: ``source`` (asked for),
    ``blank``, ``no answer``, ``unreadable answer`` (the grader cannot compare with it),
    ``duplicate``, ``another solution`` (of a question that has one), ``program failed``,
    ``program disagrees``, ``several turns`` (no single question), ``turns out of order``.
    ``programs`` counts all programs by how they ended: ``answered`` those that gave the
    answer themselves, else as statuses of verdicts.
    """

    problems: list[Problem]
    conversations: list[Conversation]
    rows: int
    left_out: dict[str, int]
    programs: dict[str, int]


def load_rows(
    paths: Sequence[Path],
    *,
    format: Format,
    name: str,
    target: Become,
    exclude: Sequence[str],
    sandbox: SandboxLimits,
) -> SourceRows:
    """Return the rows of files as problems or conversations of the source ``name``.

    ``exclude`` names sources of rows to leave out, in any case: for MathInstruct the file's
    stem (``TheoremQA`` for ``data/PoT/TheoremQA.json``), else the row's ``source``. Raises
    ValueError naming the file and the row (from 1) of a malformed one, a name in ``exclude``
    that no row has, and files without a usable row.
    """
    rows = (
        (f"{path}: row {number}", row)
        for path in paths
        for number, row in enumerate(raw_rows(path), start=1)
    )
    return parse_rows(
        rows, format=format, name=name, target=target, exclude=exclude, sandbox=sandbox
    )


def parse_rows(
    rows: Iterable[Numbered],
    *,
    format: Format,
    name: str,
    target: Become,
    exclude: Sequence[str],
    sandbox: SandboxLimits,
) -> SourceRows:
    """Return raw rows as ``load_rows`` does; each comes with the words that name it in an error."""
    unwanted = {origin.casefold() for origin in exclude}
    origins: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    told: list[ParsedProblem] = []
    conversations: dict[str, Conversation] = {}
    for where, value in rows:
        try:
            row = parse(value, format)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        origins[row.origin] += 1
        if row.origin.casefold() in unwanted:
            left_out["source"] += 1
            continue
        one = row.told() if target == "problems" else row.said()
        if isinstance(one, str):
            left_out[one] += 1
        elif isinstance(one, ParsedProblem):
            told.append(one)
        else:
            made = as_conversation(one, name)
            left_out["duplicate"] += made.id in conversations
            conversations[made.id] = made
    _check_names(exclude, origins)
    merged = _merged(told, left_out)
    problems, programs = _problems(merged, name, sandbox, left_out)
    counts = {reason: count for reason, count in left_out.items() if count}
    if not problems and not conversations:
        raise ValueError(f"{name}: no usable row among {origins.total()}; left out: {counts}")
    return SourceRows(problems, list(conversations.values()), origins.total(), counts, programs)


def _check_names(exclude: Sequence[str], origins: Iterable[str]) -> None:
    found = {origin.casefold() for origin in origins}
    known = ", ".join(sorted(filter(None, origins))) or "none"
    for name in exclude:
        if name.casefold() not in found:
            raise ValueError(f"exclude: {name!r}: no row has that source; there are: {known}")


def _merged(told: Iterable[ParsedProblem], left_out: Counter[str]) -> list[list[ParsedProblem]]:
    """Return what is told of each question: the first solution and the first program."""
    groups: defaultdict[str, list[ParsedProblem]] = defaultdict(list)
    for one in told:
        group = groups[" ".join(one.question.split())]
        said = (one.solution, one.program)
        if said in [(other.solution, other.program) for other in group]:
            left_out["duplicate"] += 1
        elif any(bool(other.solution) == bool(one.solution) for other in group):
            left_out["another solution"] += 1
        else:
            group.append(one)
    return list(groups.values())


def _problems(
    groups: Sequence[Sequence[ParsedProblem]],
    name: str,
    sandbox: SandboxLimits,
    left_out: Counter[str],
) -> tuple[list[Problem], dict[str, int]]:
    results = _run([one.program for group in groups for one in group if one.program], sandbox)
    problems = []
    ends: Counter[str] = Counter()
    for group in groups:
        solved = next((one for one in group if one.solution), group[0])
        coded = next((one for one in group if one.program), None)
        answer, program, rows = solved.answer, "", len(group)
        if coded is not None:
            answer, end = _ended(coded, answer, results[coded.program])
            ends[end] += 1
            if end in ("answered", "correct"):
                program = coded.program
            elif not coded.solution:
                left_out["program disagrees" if end == "wrong" else "program failed"] += 1
                rows -= 1
        if answer is None:
            continue
        if _is_readable(answer):
            problems.append(as_problem(replace(solved, program=program), answer, name))
        else:
            left_out["unreadable answer"] += rows
    return problems, dict(ends)


def _ended(
    coded: ParsedProblem, stated: ReferenceAnswer | None, result: ProgramResult
) -> tuple[ReferenceAnswer | None, str]:
    """Return the answer, from the program if none is stated, and how the program ended."""
    if stated is not None:
        known = {"answer": stated.answer, "kind": stated.kind, "choices": stated.choices}
        return stated, grade_program(result, **known).status
    line = result.stdout.strip().rpartition("\n")[2].strip()
    if result.status != "ok" or not line:
        return None, "unparsed" if result.status == "ok" else result.status
    choices = split_choices(coded.question)
    if not choices:
        single = _SINGLE.fullmatch(line)
        return as_answer(single[1] if single else line), "answered"
    letter = find_option(line, choices)[1]
    return (
        (ReferenceAnswer(letter, "choice", choices), "answered") if letter else (None, "unparsed")
    )


def _is_readable(answer: ReferenceAnswer) -> bool:
    try:
        check_answer(answer.answer, answer.kind, answer.choices)
    except ValueError:
        return False
    return True


def _run(programs: Iterable[str], sandbox: SandboxLimits) -> dict[str, ProgramResult]:
    distinct = list(dict.fromkeys(programs))
    if not distinct:
        return {}
    with console.progress_bar(
        total=len(distinct), doing="run programs", unit="program"
    ) as progress:
        results = run_programs(
            distinct,
            timeout_s=sandbox.timeout_s,
            memory_mb=sandbox.memory_mb,
            workers=sandbox.workers,
            allow_unprotected=sandbox.allow_unprotected,
            progress=progress.update,
        )
    return dict(zip(distinct, results, strict=True))
