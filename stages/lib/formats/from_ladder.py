r"""Write problems of the arithmetic ladder as raw rows of the published formats.

A small run thus exercises the real data loader, on data in a recipe's own format. A row that
is read back gives the same question, answer and steps, except where a format prescribes more:
``numina`` and ``math`` put the answer in a box, ``gsm8k`` puts each step on its own line.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from stages.lib.core.schema import Problem
from stages.lib.formats.read import SourceRows, parse_rows
from stages.lib.params.data import Format, Target
from stages.lib.params.sampling import SandboxLimits
from stages.lib.prompts.templates import POT_CUE

TURNS = (1, 2, 3)
"""Numbers of problems in successive ShareGPT conversations, repeated to the end."""

_STEP_END = re.compile(r"(?<=\.) ")
# What GSM8K annotates: a calculation and its result.
_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?"
_CALCULATION = re.compile(
    rf"(?P<left>(?<![-+*/] ){_NUMBER}(?: ?[-+*/] ?{_NUMBER})+) = (?P<right>-?[\d./]*\d)(?! [-+*/])"
)


def write_rows(problems: Sequence[Problem], format: Format, *, bare: bool) -> list[dict[str, Any]]:
    """Return problems as raw rows of a format; with ``bare`` the responses have no steps.

    ShareGPT conversations have one, two and three turns in rotation.
    """
    if format != "sharegpt":
        return [row for problem in problems for row in _write_problem(problem, format, bare=bare)]
    rows: list[dict[str, Any]] = []
    rest = iter(problems)
    for size in cycle(TURNS):
        if not (turns := list(islice(rest, size))):
            break
        rows.append(write_conversation(turns, bare=bare))
    return rows


def round_trip(
    problems: Sequence[Problem],
    *,
    format: Format,
    name: str,
    target: Target,
    bare: bool,
    sandbox: SandboxLimits,
) -> SourceRows:
    """Return ladder problems written as rows of a format and read back.

    Conversations get the source ``name``. Problems keep the fields that no format has: their
    id, source (the rung), kind, level, topic and template.
    """
    rows = [
        (f"{format}: row {number}", row)
        for number, row in enumerate(write_rows(problems, format, bare=bare), start=1)
    ]
    parsed = parse_rows(rows, format=format, name=name, target=target, exclude=(), sandbox=sandbox)
    originals = {problem.question: problem for problem in problems}
    return replace(
        parsed,
        problems=[
            replace(
                originals[problem.question],
                answer=problem.answer,
                solution=problem.solution,
                program=problem.program,
            )
            for problem in parsed.problems
        ],
    )


def write_conversation(problems: Sequence[Problem], *, bare: bool) -> dict[str, Any]:
    """Return problems as one ShareGPT conversation, a turn each."""
    messages = []
    for problem in problems:
        messages += [
            {"from": "human", "value": problem.question},
            {"from": "gpt", "value": _response(problem, problem.answer, bare=bare)},
        ]
    return {"conversations": messages, "source": "ladder"}


def _write_problem(problem: Problem, format: Format, *, bare: bool) -> list[dict[str, Any]]:
    """Return the rows of one problem.

    MathInstruct has two rows, one with the solution and one with the program. With ``bare``,
    the solution is the answer without steps, and there is no program.
    """
    question, answer = problem.question, problem.answer
    plain = _response(problem, answer, bare=bare)
    boxed = _response(problem, f"$\\boxed{{{answer}}}$", bare=bare)
    match format:
        case "mathinstruct":
            # The folder tells the reader whether a row is a program, the file's stem its source.
            solution_row = {
                "source": f"data/CoT/{problem.source}.json",
                "instruction": question,
                "output": plain,
            }
            program_row = {
                "source": f"data/PoT/{problem.source}.json",
                "instruction": question + POT_CUE,
                "output": problem.program,
            }
            return [solution_row] if bare else [solution_row, program_row]
        case "numina":
            # Readers take a problem from its fields, but a conversation from the messages.
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": boxed},
            ]
            row = {"source": problem.source, "problem": question, "solution": boxed}
            return [row | {"messages": messages}]
        case "orca-math":
            return [{"question": question, "answer": plain}]
        case "gsm8k":
            steps = "" if bare else _steps(problem)
            lines = [_CALCULATION.sub(_annotated, step) for step in _STEP_END.split(steps) if step]
            return [{"question": question, "answer": "\n".join([*lines, f"#### {answer}"])}]
        case "math":
            level = {"level": f"Level {problem.level}", "type": problem.topic}
            return [{"problem": question, "solution": boxed} | level]
        case "sharegpt":
            return [write_conversation([problem], bare=bare)]


def _response(problem: Problem, answer: str, *, bare: bool) -> str:
    steps = "" if bare else _steps(problem)
    return f"{steps} The answer is {answer}.".strip()


def _steps(problem: Problem) -> str:
    return problem.solution.removesuffix(f"The answer is {problem.answer}.").rstrip()


def _annotated(calculation: re.Match[str]) -> str:
    """Return a calculation with its annotation: ``7 + 8 = <<7+8=15>>15``."""
    left, right = calculation["left"], calculation["right"]
    return f"{left} = <<{left.replace(' ', '')}={right}>>{right}"
