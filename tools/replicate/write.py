"""Write our answers in the layout of the SDAT authors' results, for their notebook and ours.

Reads the benchmarks, the answers and their grades. Writes
``DIR/<system>/results/<benchmark>-{cot,pot}.json``, as ``tools.replicate.results`` describes; a
system is a model with a number of in-context examples. Of an answer by program, ``output`` is the
program, as in theirs.

    python -m tools.replicate.write DIR
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from stages.lib.analysis.records import graded_answers
from stages.lib.core.files import write_json
from stages.lib.core.paths import GRADES
from stages.lib.core.schema import EvalRecord, Generation, Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.grading.grader import FAILED, extract_program
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import user_message
from stages.lib.runtime import console

CLOSEST_OPTION = "self||A"
"""Their name of asking the model for the closest option and, if that fails, taking A."""


def main(out: str) -> None:
    """Write all answers."""
    files: dict[Path, list[dict[str, Any]]] = defaultdict(list)
    params = load_params()
    records, answers = read_parquet(GRADES, EvalRecord), read_answers(params.evaluate.models)
    problems = read_benchmarks(params.prepare.benchmarks)
    for record, answer, problem in graded_answers(records, answers, problems):
        # Their names have no hyphens: mmlu_physics.
        name = f"{record.benchmark.replace('-', '_')}-{record.prompting}.json"
        files[Path(out, record.system, "results", name)].append(as_row(record, answer, problem))
    for path, rows in files.items():
        write_json(path, rows)
    console.log_line(f"{len(files)} files in {out}")


def as_row(record: EvalRecord, answer: Generation, problem: Problem) -> dict[str, Any]:
    """Return an answer as a row of their files."""
    program = extract_program(answer.text) if record.prompting == "pot" else ""
    row = {
        "question": user_message(problem.question, record.prompting),
        "output": program or answer.text,
        "gt": problem.answer,
        "ans": record.extracted,
        "err": record.status in FAILED,
        "correct": record.status == "correct",
    }
    return row | ({"matching_strategy": CLOSEST_OPTION} if record.option_source else {})


if __name__ == "__main__":
    console.run_stage("write", main, item="out", timed=False)
