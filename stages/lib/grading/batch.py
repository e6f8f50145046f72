"""Grades of many answers: programs run in the sandbox, then every text is graded.

If an answer matches none of its problem's options, the model gets one follow-up question
for the closest option, as in the SDAT report (``unmatched_answer`` is what the question
quotes). If the reply names no option either, the first option counts. A program that
failed gets no follow-up question and stays a failure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stages.lib.core.schema import AnswerKind, Generation, Grade, OptionSource, Problem, Prompting
from stages.lib.grading.grader import extract_program, grade, grade_program
from stages.lib.grading.multiple_choice import MAX_LINE
from stages.lib.grading.programs import run_distinct
from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console
from stages.lib.sandbox.pool import ProgramResult

NO_PROGRAM = Grade(extracted="", status="unparsed")
FIRST_OPTION = "A"
CHUNK_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class Submission:
    """An answer of a model, and the reference it is graded against.

    ``reply`` is the model's reply to the follow-up question, None if there was none.
    """

    text: str
    prompting: Prompting
    answer: str
    kind: AnswerKind
    choices: Sequence[str]
    reply: str | None = None

    @property
    def reference(self) -> dict[str, Any]:
        """The keyword arguments with which ``grade`` compares a text."""
        return {"answer": self.answer, "kind": self.kind, "choices": self.choices}


@dataclass(frozen=True, slots=True)
class GradedSubmission:
    """A grade, and what the answer's program printed, or its error; "" without a program.

    ``option_source`` says where the option came from if the answer itself matched none.
    """

    grade: Grade
    output: str
    option_source: OptionSource = ""


def submission(problem: Problem, row: Generation, reply: str | None = None) -> Submission:
    """Return a generation as an answer to its problem."""
    return Submission(row.text, row.prompting, problem.answer, problem.kind, problem.choices, reply)


def grade_batch(
    submissions: Iterable[Submission], limits: SandboxLimits
) -> Iterator[GradedSubmission]:
    """Yield the grade of every submission, in order.

    ``CHUNK_SIZE`` submissions are held in memory at a time. A program that occurs several
    times runs once; the results of all distinct programs are held to the end.
    """
    results: dict[str, ProgramResult] = {}
    remaining = iter(submissions)
    with console.progress_bar(total=None, desc="grade", unit="answer") as progress:
        while chunk := list(islice(remaining, CHUNK_SIZE)):
            programs = [
                extract_program(answer.text) if answer.prompting == "pot" else ""
                for answer in chunk
            ]
            unseen = [program for program in programs if program and program not in results]
            results |= run_distinct(unseen, limits)
            for answer, program in zip(chunk, programs, strict=True):
                yield _apply_reply(answer, _grade_answer(answer, results.get(program)))
                progress.update(1)


def unmatched_answer(answer: Submission, graded: GradedSubmission) -> str | None:
    """Return the answer to quote in a follow-up question, or None if none is needed.

    A follow-up is for answers that match none of the problem's options. None is needed if
    the answer names an option, the problem has no options, or the answer is a program that
    failed or printed nothing.
    """
    if answer.kind != "choice" or graded.grade.status != "unparsed":
        return None
    if answer.prompting == "pot" and not graded.output.strip():
        return None
    text = graded.output if answer.prompting == "pot" else answer.text
    return graded.grade.extracted or text.strip().rpartition("\n")[2][:MAX_LINE].strip()


def _grade_answer(answer: Submission, result: ProgramResult | None) -> GradedSubmission:
    if answer.prompting == "cot":
        return GradedSubmission(grade(answer.text, **answer.reference), "")
    if result is None:
        return GradedSubmission(NO_PROGRAM, "")
    program_grade = grade_program(result, **answer.reference)
    return GradedSubmission(program_grade, result.stdout or result.error)


def _apply_reply(answer: Submission, graded: GradedSubmission) -> GradedSubmission:
    """Return the grade by the reply to the follow-up question, where one was needed."""
    if answer.reply is None or unmatched_answer(answer, graded) is None:
        return graded
    reply_grade = grade(answer.reply, **answer.reference)
    if reply_grade.status == "unparsed":
        first_grade = grade(FIRST_OPTION, **answer.reference)
        return GradedSubmission(first_grade, graded.output, "first_option")
    return GradedSubmission(reply_grade, graded.output, "follow_up")
