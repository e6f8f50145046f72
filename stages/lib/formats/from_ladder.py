r"""Problems of the arithmetic ladder as raw rows of the published formats.

So a small run learns from data in a recipe's own format, read by the reader of the real data.
Reading a row back gives the question, the answer and the steps that went in, but for what a
format asks for: ``numina`` and ``math`` have the answer in a box, ``gsm8k`` each step on its
own line.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

from stages.lib.core.schema import Problem
from stages.lib.formats.read import SourceRows, parse_rows
from stages.lib.params.data import Become, Format
from stages.lib.params.sampling import SandboxLimits
from stages.lib.prompts.templates import POT_CUE

TURNS = (1, 2, 3)
"""Problems in one ShareGPT conversation after the other."""

_STEP_END = re.compile(r"(?<=\.) ")
# What GSM8K annotates: a calculation and the number it comes to.
_NUMBER = r"(?<![\w.])-?\d+(?:\.\d+)?"
_CALCULATION = re.compile(
    rf"(?P<left>(?<![-+*/] ){_NUMBER}(?: ?[-+*/] ?{_NUMBER})+) = (?P<right>-?[\d./]*\d)(?! [-+*/])"
)


def from_ladder(problems: Sequence[Problem], format: Format, *, bare: bool) -> list[dict[str, Any]]:
    """Return problems as raw rows of a format; the responses of ``bare`` ones have no steps.

    ShareGPT conversations have one, two and three turns by turns.
    """
    rows: list[dict[str, Any]] = []
    rest = list(problems)
    sizes = cycle(TURNS if format == "sharegpt" else (1,))
    while rest:
        size = next(sizes)
        rows += _written(rest[:size], format, bare=bare)
        del rest[:size]
    return rows


def round_trip(
    problems: Sequence[Problem],
    *,
    format: Format,
    name: str,
    target: Become,
    bare: bool,
    sandbox: SandboxLimits,
) -> SourceRows:
    """Return ladder problems written as rows of a format and read back.

    Conversations are of the source ``name``. Problems keep what they are known by, and no
    format has: their id, source (the rung), kind, level, topic and template.
    """
    rows = (
        (f"{format}: row {n}", row)
        for n, row in enumerate(from_ladder(problems, format, bare=bare), 1)
    )
    made = parse_rows(rows, format=format, name=name, target=target, exclude=(), sandbox=sandbox)
    known = {problem.question: problem for problem in problems}
    back = [
        replace(known[one.question], answer=one.answer, solution=one.solution, program=one.program)
        for one in made.problems
    ]
    return replace(made, problems=back)


def _written(problems: Sequence[Problem], format: Format, *, bare: bool) -> list[dict[str, Any]]:
    """Return one problem as raw rows, or those of a ShareGPT conversation as its row.

    MathInstruct has two, with the solution and with the program. With ``bare``, the solution
    is the answer without steps, and there is no program.
    """
    if format == "sharegpt":
        return [joined(problems, bare=bare)]
    (problem,) = problems
    question, answer = problem.question, problem.answer
    steps = "" if bare else _steps(problem)
    plain = f"{steps} The answer is {answer}.".strip()
    boxed = f"{steps} The answer is $\\boxed{{{answer}}}$.".strip()
    match format:
        case "mathinstruct":
            reasoned = {
                "source": f"data/CoT/{problem.source}.json",
                "instruction": question,
                "output": plain,
            }
            coded = {
                "source": f"data/PoT/{problem.source}.json",
                "instruction": question + POT_CUE,
                "output": problem.program,
            }
            return [reasoned] if bare else [reasoned, coded]
        case "numina":
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": boxed},
            ]
            known = {"source": problem.source, "problem": question, "solution": boxed}
            return [known | {"messages": messages}]
        case "orca-math":
            return [{"question": question, "answer": plain}]
        case "gsm8k":
            lines = [*(_annotated(step) for step in _STEP_END.split(steps) if step)]
            return [{"question": question, "answer": "\n".join([*lines, f"#### {answer}"])}]
        case "math":
            known = {"level": f"Level {problem.level}", "type": problem.topic}
            return [{"problem": question, "solution": boxed} | known]


def joined(problems: Sequence[Problem], *, bare: bool) -> dict[str, Any]:
    """Return problems as one ShareGPT conversation, a turn each."""
    said = []
    for problem in problems:
        steps = "" if bare else _steps(problem)
        response = f"{steps} The answer is {problem.answer}.".strip()
        said += [{"from": "human", "value": problem.question}, {"from": "gpt", "value": response}]
    return {"conversations": said, "source": "ladder"}


def _steps(problem: Problem) -> str:
    return problem.solution.removesuffix(f"The answer is {problem.answer}.").rstrip()


def _annotated(step: str) -> str:
    """Return a step with its calculations annotated: ``7 + 8 = <<7+8=15>>15.``"""
    return _CALCULATION.sub(_with_annotation, step)


def _with_annotation(found: re.Match[str]) -> str:
    left, right = found["left"], found["right"]
    return f"{left} = <<{left.replace(' ', '')}={right}>>{right}"
