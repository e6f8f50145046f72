"""Verdicts on many answers: programs run in the sandbox, then every text is graded.

An answer that is none of its problem's options does not end there: as in the SDAT
report, the model is asked once for the closest option (``unmatched_answer`` is what it is asked
about), and if its reply names none, the first option counts. A program that failed
said nothing, and stays a failure.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from stages.lib.core.schema import AnswerKind, Generation, Grade, OptionSource, Problem, Prompting
from stages.lib.grading.grader import grade, grade_program, program_in
from stages.lib.grading.multiple_choice import LINE
from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console
from stages.lib.sandbox.pool import ProgramResult, run_programs

NO_PROGRAM = Grade(extracted="", status="unparsed")
DEFAULT = "A"
AHEAD = 20_000


@dataclass(frozen=True, slots=True)
class Submission:
    """What a model wrote, and the reference it is graded against.

    ``reply`` is its reply to the closest-option question, None if it was not asked.
    """

    text: str
    prompting: Prompting
    answer: str
    kind: AnswerKind
    choices: Sequence[str]
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class GradedSubmission:
    """A verdict, and what the answer's program printed, or its error; "" without a program.

    ``option_source`` says how an answer that is none of the options came to its verdict.
    """

    verdict: Grade
    output: str
    option_source: OptionSource = ""


def submission(problem: Problem, row: Generation, reply: str | None = None) -> Submission:
    """Return a generation as an answer to its problem."""
    return Submission(row.text, row.prompting, problem.answer, problem.kind, problem.choices, reply)


def grade_batch(
    answers: Iterable[Submission], sandbox: SandboxLimits
) -> Iterator[GradedSubmission]:
    """Yield the verdict on every answer, in order.

    ``AHEAD`` answers are held at a time. The same program is run once, however many
    answers hold it: each different one, and what it printed, is held to the end.
    """
    results: dict[str, ProgramResult] = {}
    left = iter(answers)
    with console.progress_bar(total=None, doing="grade", unit="answer") as progress:
        while some := list(islice(left, AHEAD)):
            programs = [program_in(one.text) if one.prompting == "pot" else "" for one in some]
            new = {program: None for program in programs if program and program not in results}
            results |= _run(new, sandbox)
            for one, program in zip(some, programs, strict=True):
                yield _settled(one, _judged(one, results.get(program)))
                progress.update(1)


def unmatched_answer(one: Submission, judged: GradedSubmission) -> str | None:
    """Return what an answer says instead of one of its problem's options.

    None if it needs no second question: it names an option, there is none to name, or it
    is a program that failed or printed nothing.
    """
    if one.kind != "choice" or judged.verdict.status != "unparsed":
        return None
    if one.prompting == "pot" and not judged.output.strip():
        return None
    text = judged.output if one.prompting == "pot" else one.text
    return judged.verdict.extracted or text.strip().rpartition("\n")[2][:LINE].strip()


def _settled(one: Submission, judged: GradedSubmission) -> GradedSubmission:
    if one.reply is None or unmatched_answer(one, judged) is None:
        return judged
    known = {"answer": one.answer, "kind": one.kind, "choices": one.choices}
    verdict = grade(one.reply, **known)
    if verdict.status == "unparsed":
        return GradedSubmission(grade(DEFAULT, **known), judged.output, "default")
    return GradedSubmission(verdict, judged.output, "asked")


def _run(programs: dict[str, None], sandbox: SandboxLimits) -> dict[str, ProgramResult]:
    if not programs:
        return {}
    with (
        warnings.catch_warnings(record=True) as missing_layers,
        console.progress_bar(total=len(programs), doing="run programs", unit="program") as progress,
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
        console.log_line(str(one.message))
    return dict(zip(programs, results, strict=True))


def _judged(one: Submission, result: ProgramResult | None) -> GradedSubmission:
    known = {"answer": one.answer, "kind": one.kind, "choices": one.choices}
    if one.prompting == "cot":
        return GradedSubmission(grade(one.text, **known), "")
    if result is None:
        return GradedSubmission(NO_PROGRAM, "")
    return GradedSubmission(grade_program(result, **known), result.stdout or result.error)
