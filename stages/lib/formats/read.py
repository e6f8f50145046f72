"""Load published data sets as problems or conversations.

Rows of one question become one problem: MathInstruct has its worked solution and its
program in two rows. Every program runs in the sandbox. It gives the answer where no
solution states one, and is dropped if it disagrees with the stated answer.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stages.lib.core.schema import Conversation, Problem
from stages.lib.formats.files import raw_rows
from stages.lib.formats.parsed import ParsedProblem, as_conversation, as_problem
from stages.lib.formats.reference_answer import ReferenceAnswer, as_answer
from stages.lib.formats.rows import parse
from stages.lib.grading.grader import check_answer, grade_program
from stages.lib.grading.multiple_choice import find_option
from stages.lib.grading.programs import run_distinct
from stages.lib.params.data import Format, Target
from stages.lib.params.sampling import SandboxLimits
from stages.lib.prompts.choices import split_choices
from stages.lib.sandbox.pool import ProgramResult

# A list or tuple of one element, as programs print it: ``[10.5]``, ``(3,)``.
_SINGLETON = re.compile(r"[\[({]([^,]+),?[\])}]")

LabeledRow = tuple[str, dict[str, Any]]
"""The text that names a raw row in an error, and the row."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Problems or conversations parsed from the ``n_rows`` raw rows of a source.

    ``skipped`` counts the skipped rows by reason:

    - ``source``: excluded by the parameters
    - ``blank``, ``no answer``, ``duplicate``
    - ``unreadable answer``: the grader cannot compare with it
    - ``another solution``: of a question that has one
    - ``program failed``, ``program disagrees``
    - ``several turns``: no single question
    - ``turns out of order``

    ``programs`` counts all programs by outcome:

    - ``answered``: the program gave the answer
    - otherwise the status of its grade
    """

    n_rows: int
    problems: list[Problem] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    programs: dict[str, int] = field(default_factory=dict)


def load_rows(
    paths: Sequence[Path],
    *,
    format: Format,
    name: str,
    target: Target,
    exclude: Sequence[str],
    sandbox: SandboxLimits,
) -> SourceRows:
    """Load the rows of files as problems or conversations of the source ``name``.

    ``exclude`` names the sources of rows to skip, in upper or lower case: for MathInstruct the
    file's stem (``TheoremQA`` for ``data/PoT/TheoremQA.json``), else the row's ``source``.
    Raises ValueError naming the file and the row (from 1) of a malformed row, a name in
    ``exclude`` that no row has, and files without a usable row.
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
    rows: Iterable[LabeledRow],
    *,
    format: Format,
    name: str,
    target: Target,
    exclude: Sequence[str],
    sandbox: SandboxLimits,
) -> SourceRows:
    """Return labeled raw rows as problems or conversations, as ``load_rows`` does."""
    excluded = {origin.casefold() for origin in exclude}
    origins: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    parsed_problems: list[ParsedProblem] = []
    conversations: dict[str, Conversation] = {}
    for label, value in rows:
        try:
            row = parse(value, format)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        origins[row.origin] += 1
        if row.origin.casefold() in excluded:
            skipped["source"] += 1
            continue
        parsed = row.to_problem() if target == "problems" else row.to_conversation()
        if isinstance(parsed, str):
            skipped[parsed] += 1
        elif isinstance(parsed, ParsedProblem):
            # Kept for later: another row may hold the program or the solution of this question.
            parsed_problems.append(parsed)
        else:
            conversation = as_conversation(parsed, name)
            skipped["duplicate"] += conversation.id in conversations
            conversations[conversation.id] = conversation
    _check_excluded(exclude, origins)
    groups = _group_by_question(parsed_problems, skipped)
    problems, programs = _merge_groups(groups, name, sandbox, skipped)
    counts = {reason: count for reason, count in skipped.items() if count}
    n_rows = origins.total()
    if not problems and not conversations:
        raise ValueError(f"{name}: no usable row among {n_rows}; skipped: {counts}")
    return SourceRows(n_rows, problems, list(conversations.values()), counts, programs)


def _check_excluded(exclude: Sequence[str], origins: Iterable[str]) -> None:
    existing = {origin.casefold() for origin in origins}
    listed = ", ".join(sorted(filter(None, origins))) or "none"
    for name in exclude:
        if name.casefold() not in existing:
            raise ValueError(
                f"exclude: {name!r}: no row has that source; the sources are: {listed}"
            )


def _group_by_question(
    problems: Iterable[ParsedProblem], skipped: Counter[str]
) -> list[list[ParsedProblem]]:
    """Return the first row with a solution and the first with a program of each question."""
    groups: defaultdict[str, list[ParsedProblem]] = defaultdict(list)
    for problem in problems:
        group = groups[" ".join(problem.question.split())]
        content = (problem.solution, problem.program)
        if content in [(member.solution, member.program) for member in group]:
            skipped["duplicate"] += 1
        elif any(bool(member.solution) == bool(problem.solution) for member in group):
            skipped["another solution"] += 1
        else:
            group.append(problem)
    return list(groups.values())


def _merge_groups(
    groups: Sequence[Sequence[ParsedProblem]],
    name: str,
    sandbox: SandboxLimits,
    skipped: Counter[str],
) -> tuple[list[Problem], dict[str, int]]:
    """Return one problem per group, and the number of programs by outcome."""
    results = run_distinct(
        [problem.program for group in groups for problem in group if problem.program], sandbox
    )
    problems = []
    outcomes: Counter[str] = Counter()
    for group in groups:
        with_solution = next((problem for problem in group if problem.solution), group[0])
        with_program = next((problem for problem in group if problem.program), None)
        answer, program, n_rows = with_solution.answer, "", len(group)
        if with_program is not None:
            answer, outcome = _check_program(with_program, answer, results[with_program.program])
            outcomes[outcome] += 1
            if outcome in ("answered", "correct"):
                program = with_program.program
            elif not with_program.solution:
                # The row held nothing but the program, so it is skipped for that reason alone.
                skipped["program disagrees" if outcome == "wrong" else "program failed"] += 1
                n_rows -= 1
        if answer is None:
            continue
        if _is_comparable(answer):
            published = tuple(row for problem in group for row in problem.published)
            merged = replace(with_solution, program=program, published=published)
            problems.append(as_problem(merged, answer, name))
        else:
            skipped["unreadable answer"] += n_rows
    return problems, dict(outcomes)


def _check_program(
    problem: ParsedProblem, answer: ReferenceAnswer | None, result: ProgramResult
) -> tuple[ReferenceAnswer | None, str]:
    """Return the answer and the outcome of the program.

    The answer is the stated one, or what the program printed if ``answer`` is None.
    """
    if answer is not None:
        grade = grade_program(
            result, answer=answer.answer, kind=answer.kind, choices=answer.choices
        )
        return answer, grade.status
    line = result.stdout.strip().rpartition("\n")[2].strip()
    if result.status != "ok" or not line:
        return None, "unparsed" if result.status == "ok" else result.status
    choices = split_choices(problem.question)
    if not choices:
        singleton = _SINGLETON.fullmatch(line)
        return as_answer(singleton[1] if singleton else line), "answered"
    letter = find_option(line, choices)[1]
    return (
        (ReferenceAnswer(letter, "choice", choices), "answered") if letter else (None, "unparsed")
    )


def _is_comparable(answer: ReferenceAnswer) -> bool:
    try:
        check_answer(answer.answer, answer.kind, answer.choices)
    except ValueError:
        return False
    return True
