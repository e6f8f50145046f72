"""Grade every chain-of-thought answer again, by Math-Verify with its own extraction.

Reads the benchmarks, the answers of every model and their grades. Writes the agreement of both
graders by benchmark and system, and every answer on which they differ, to
``reports/agreement/``. An answer whose option came from a follow-up question is left out.

    python -m stages.cross_check
"""

from collections.abc import Iterator
from itertools import tee

from stages.lib.analysis.extraction import agreement_table
from stages.lib.analysis.records import graded_answers
from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import AGREEMENT, GRADES
from stages.lib.core.schema import EvalRecord, Generation, Problem
from stages.lib.core.tables import read_parquet, write_csv
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.grading.second_grader import describe, grade_again, text_answer
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.runtime import console

COLUMNS = (
    *("benchmark", "system", "problem_id", "reference"),
    *("ours", "extracted", "math_verify", "end_of_text"),
)
SHOWN = 200
"""Characters at the end of a text that a disagreement shows."""


def main() -> None:
    """Grade again, and compare."""
    params = load_params()
    answers, to_grade = tee(comparable_answers(params))
    texts = (text_answer(answer.text, problem) for _, answer, problem in to_grade)
    verdicts, disagreements = [], []
    with console.progress_bar(total=None, desc="cross_check", unit="answer") as progress:
        for (record, answer, problem), other in zip(answers, grade_again(texts), strict=True):
            correct = record.status == "correct"
            key = {"benchmark": record.benchmark, "system": record.system}
            verdicts.append(key | {"correct": correct, "other": other})
            if other != correct:
                disagreements.append(
                    key
                    | {
                        "problem_id": problem.id,
                        "reference": problem.answer,
                        "ours": record.status,
                        "extracted": record.extracted,
                        "math_verify": describe(other),
                        "end_of_text": answer.text[-SHOWN:],
                    }
                )
            progress.update(1)
    with atomic_replace(AGREEMENT) as tmp:
        tmp.mkdir()
        table = agreement_table(verdicts, level=params.analyze.interval)
        table.to_csv(tmp / "agreement.csv", index=False, lineterminator="\n")
        write_csv(tmp / "disagreements.csv", disagreements, columns=COLUMNS)


def comparable_answers(params: Params) -> Iterator[tuple[EvalRecord, Generation, Problem]]:
    """Yield each chain-of-thought answer with its grade and its problem."""
    problems = read_benchmarks(params.prepare.benchmarks)
    answers = read_answers(params.evaluate.models)
    for graded in graded_answers(read_parquet(GRADES, EvalRecord), answers, problems):
        if graded[0].prompting == "cot" and not graded[0].option_source:
            yield graded


if __name__ == "__main__":
    console.run_stage("cross_check", main)
