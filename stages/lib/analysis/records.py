"""Grade the answers of evaluated systems."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import tee

from stages.lib.core.schema import EvalRecord, Generation, Problem, Prompting
from stages.lib.grading.batch import grade_batch, submission
from stages.lib.params.sampling import SandboxLimits

MAX_OUTPUT = 500
"""Characters of a program's output that a record keeps."""


def grade_answers(
    answers: Iterable[tuple[str, Generation]],
    follow_ups: Mapping[tuple[str, str, Prompting, int], str],
    problems: Mapping[str, Sequence[Problem]],
    sandbox: SandboxLimits,
) -> Iterator[tuple[Generation, EvalRecord]]:
    """Yield every answer with its graded record, in order.

    ``answers`` are (system, generation) pairs, ``problems`` are by benchmark, and
    ``follow_ups`` has the replies to the question for the closest option by system, problem,
    prompting and index.
    """
    by_id = _by_id(problems)
    # The grader works in batches, so tee buffers at most one.
    answers, to_grade = tee(answers)
    submissions = (
        submission(
            by_id[answer.problem_id][1],
            answer,
            follow_ups.get((system, answer.problem_id, answer.prompting, answer.index)),
        )
        for system, answer in to_grade
    )
    for (system, answer), graded in zip(answers, grade_batch(submissions, sandbox), strict=True):
        benchmark, problem = by_id[answer.problem_id]
        yield (
            answer,
            EvalRecord(
                benchmark=benchmark,
                problem_id=problem.id,  # one string object for all rows of the problem
                system=system,
                prompting=answer.prompting,
                status=graded.grade.status,
                extracted=graded.grade.extracted,
                output=graded.output[:MAX_OUTPUT],
                finish_reason=answer.finish_reason,
                n_tokens=answer.n_tokens,
                option_source=graded.option_source,
                stated=graded.grade.stated,
                matched_option=graded.grade.matched_option,
                index=answer.index,
            ),
        )


def graded_answers(
    records: Iterable[EvalRecord],
    answers: Iterable[tuple[str, Generation]],
    problems: Mapping[str, Sequence[Problem]],
) -> Iterator[tuple[EvalRecord, Generation, Problem]]:
    """Yield each record of ``grade_answers`` with its answer and problem, both in its order."""
    by_id = _by_id(problems)
    for record, (_, answer) in zip(records, answers, strict=True):
        yield record, answer, by_id[record.problem_id][1]


def _by_id(problems: Mapping[str, Sequence[Problem]]) -> dict[str, tuple[str, Problem]]:
    """Return each problem with its benchmark, by its id."""
    return {
        problem.id: (benchmark, problem)
        for benchmark, members in problems.items()
        for problem in members
    }
