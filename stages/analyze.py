"""Grade every answer and compute the statistics.

Reads the benchmarks and the raw answers of every model; runs the programs that models
wrote in the sandbox. Writes ``data/verdicts.parquet``, ``reports/tables/*.csv`` and
``reports/metrics/accuracy.json``.

    python -m stages.analyze
"""

import warnings
from statistics import fmean

import numpy as np
import pandas as pd

from stages.lib import analysis, console, params
from stages.lib.answers import read_answers, read_benchmarks
from stages.lib.files import read_json, replacing, write_json
from stages.lib.grading import grade, grade_program, program_in
from stages.lib.paths import METRICS, MODEL_REPORTS, TABLES, VERDICTS
from stages.lib.programs import run_programs
from stages.lib.records import PROMPTINGS, Generation, Graded, Problem, Verdict, write_parquet

NO_PROGRAM = Verdict(extracted="", status="unparsed")
OUTPUT_SHOWN = 500
OTHERS = "others"


def main() -> None:
    """Grade and analyze."""
    wanted = params.load()
    settings = wanted.analyze
    problems = read_benchmarks(wanted.prepare.benchmarks)
    graded = grade_all(read_answers(wanted.evaluate.models), problems, settings.sandbox)
    write_parquet(VERDICTS, graded)

    frame = analysis.answer_frame(graded, problems)
    level = settings.interval
    accuracy = analysis.accuracy_table(frame, ["benchmark", "system"], level=level)
    rng = np.random.default_rng(settings.seed)
    tables = {
        "accuracy": accuracy,
        "accuracy_by_source": _by(frame, "source", level),
        "accuracy_by_topic": _by(frame, "topic", level),
        "accuracy_by_level": _by(frame, "level", level),
        "statuses": analysis.status_table(graded),
        "comparisons": analysis.comparison_table(
            frame, settings.compare, draws=settings.draws, level=level, rng=rng
        ),
        "models": model_table(list(wanted.evaluate.models), wanted.quantize),
    }
    for name, table in tables.items():
        with replacing(TABLES / f"{name}.csv") as aside:
            table.to_csv(aside, index=False, lineterminator="\n")
    held_out = wanted.evaluate.perplexity_on
    write_json(METRICS / "accuracy.json", {"accuracy": headline(accuracy, held_out)})


def grade_all(
    answers: list[tuple[str, Generation]],
    problems: dict[str, list[Problem]],
    sandbox: params.Sandbox,
) -> list[Graded]:
    """Return the verdict of every (system, generation) pair."""
    places = {p.id: (name, p) for name, members in problems.items() for p in members}
    programs = [program_in(row.text) if row.prompting == "pot" else "" for _, row in answers]
    written = [i for i, program in enumerate(programs) if program]
    with (
        warnings.catch_warnings(record=True) as missing_layers,
        console.bar(total=len(written), doing="run programs", unit="program") as progress,
    ):
        results = run_programs(
            [programs[i] for i in written],
            timeout_s=sandbox.timeout_s,
            memory_mb=sandbox.memory_mb,
            workers=sandbox.workers,
            allow_unprotected=sandbox.allow_unprotected,
            progress=progress.update,
        )
    for one in missing_layers:
        console.say(f"analyze: {one.message}")
    result_of = dict(zip(written, results, strict=True))
    graded = []
    with console.bar(total=len(answers), doing="grade", unit="answer") as progress:
        for i, (system, row) in enumerate(answers):
            benchmark, problem = places[row.problem_id]
            known = {"answer": problem.answer, "kind": problem.kind, "choices": problem.choices}
            output = ""
            if row.prompting == "cot":
                verdict = grade(row.text, **known)
            elif i in result_of:
                verdict = grade_program(result_of[i], **known)
                output = result_of[i].stdout or result_of[i].error
            else:
                verdict = NO_PROGRAM
            graded.append(
                Graded(
                    benchmark=benchmark,
                    problem_id=problem.id,
                    system=system,
                    prompting=row.prompting,
                    status=verdict.status,
                    extracted=verdict.extracted,
                    output=output[:OUTPUT_SHOWN],
                    finish_reason=row.finish_reason,
                    n_tokens=row.n_tokens,
                )
            )
            progress.update(1)
    return graded


def headline(accuracy: pd.DataFrame, held_out: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return accuracy by benchmark, system and prompting, for ``dvc metrics``.

    ``others`` is the mean over all benchmarks but the held-out one.
    """
    shares: dict[tuple[str, str, str], list[float]] = {}
    for row in accuracy.to_dict("records"):
        if row["decoding"] in PROMPTINGS:
            benchmark = held_out if row["benchmark"] == held_out else OTHERS
            key = (benchmark, row["system"], row["decoding"])
            shares.setdefault(key, []).append(row["accuracy"])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (benchmark, system, prompting), values in shares.items():
        found.setdefault(benchmark, {}).setdefault(system, {})[prompting] = round(fmean(values), 3)
    return found


def model_table(names: list[str], quantize: params.Quantize) -> pd.DataFrame:
    """Return size and perplexity of every model."""
    rows = []
    for name in names:
        report = read_json(MODEL_REPORTS / f"{name}.json")
        made = quantize.models.get(name)
        rows.append(
            {
                "model": name,
                "parent": made.parent if made else "",
                "bits": made.bits if made else 16,
                "bytes": report["weight_bytes"],
                "perplexity": report["perplexity"],
            }
        )
    return pd.DataFrame(rows)


def _by(frame: pd.DataFrame, column: str, level: float) -> pd.DataFrame:
    return analysis.accuracy_table(frame, ["benchmark", "system", column], level=level)


if __name__ == "__main__":
    console.run("analyze", main)
