"""Verdicts on many answers: programs run in the sandbox, then every text is graded."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib import console
from stages.lib.grading import grade, grade_program, program_in
from stages.lib.params import Sandbox
from stages.lib.programs import ProgramResult, run_programs
from stages.lib.records import AnswerKind, Prompting, Verdict

NO_PROGRAM = Verdict(extracted="", status="unparsed")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote, and the reference it is graded against."""

    text: str
    prompting: Prompting
    answer: str
    kind: AnswerKind
    choices: Sequence[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, and what the answer's program printed, or its error; "" without a program."""

    verdict: Verdict
    output: str


def judge(answers: Sequence[Answer], sandbox: Sandbox) -> list[Judged]:
    """Return the verdict on every answer, in order.

    The same program is run once, however many answers hold it.
    """
    programs = [program_in(one.text) if one.prompting == "pot" else "" for one in answers]
    results = _run({program: None for program in programs if program}, sandbox)
    judged = []
    with console.bar(total=len(answers), doing="grade", unit="answer") as progress:
        for one, program in zip(answers, programs, strict=True):
            judged.append(_judged(one, results.get(program)))
            progress.update(1)
    return judged


def _run(programs: dict[str, None], sandbox: Sandbox) -> dict[str, ProgramResult]:
    with (
        warnings.catch_warnings(record=True) as missing_layers,
        console.bar(total=len(programs), doing="run programs", unit="program") as progress,
    ):
        results = run_programs(
            list(programs),
            timeout_s=sandbox.timeout_s,
            memory_mb=sandbox.memory_mb,
            workers=sandbox.workers,
            allow_unprotected=sandbox.allow_unprotected,
            progress=progress.update,
        )
    for one in missing_layers:
        console.say(str(one.message))
    return dict(zip(programs, results, strict=True))


def _judged(one: Answer, result: ProgramResult | None) -> Judged:
    known = {"answer": one.answer, "kind": one.kind, "choices": one.choices}
    if one.prompting == "cot":
        return Judged(grade(one.text, **known), "")
    if result is None:
        return Judged(NO_PROGRAM, "")
    return Judged(grade_program(result, **known), result.stdout or result.error)
