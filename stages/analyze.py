"""Grade every answer and compute the statistics.

Reads the benchmarks, the raw answers of every model, and what was measured of it and of its
exports; runs the programs that models wrote in the sandbox. Writes ``data/verdicts.parquet``,
``reports/tables/*.csv`` and ``reports/metrics/accuracy.json``.

    python -m stages.analyze
"""

from collections.abc import Iterable
from itertools import tee
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.analysis import response_style
from stages.lib.analysis.accuracy import (
    accuracy_table,
    answer_frame,
    comparison_table,
    run_table,
    status_table,
)
from stages.lib.analysis.models import (
    difference_table,
    export_table,
    model_table,
    quantization_table,
)
from stages.lib.core.files import atomic_replace, read_json, write_json
from stages.lib.core.paths import (
    EXPORT_REPORTS,
    GRADES,
    LIKELIHOODS,
    METRICS,
    MODEL_REPORTS,
    TABLES,
)
from stages.lib.core.schema import PROMPTINGS, EvalRecord, Generation, Likelihood, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.generations.answers import AnswerKey, read_answers, read_benchmarks, read_follow_ups
from stages.lib.grading.batch import grade_batch, submission
from stages.lib.params.evaluation import system_name
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.params.sampling import SandboxLimits
from stages.lib.runtime import console

OUTPUT_SHOWN = 500
OTHERS = "others"


def main() -> None:
    """Grade and analyze."""
    wanted = load_params()
    settings = wanted.analyze
    problems = read_benchmarks(wanted.prepare.benchmarks)
    models = wanted.evaluate.models
    graded = grade_all(read_answers(models), read_follow_ups(models), problems, wanted.sandbox)
    write_parquet(GRADES, graded)

    frame = answer_frame(graded, problems)
    level = settings.interval
    accuracy = accuracy_table(frame, ["benchmark", "system"], level=level)
    rng = np.random.default_rng(settings.seed)
    tables = {
        "accuracy": accuracy,
        "accuracy_by_source": _by(frame, "source", level),
        "accuracy_by_topic": _by(frame, "topic", level),
        "accuracy_by_level": _by(frame, "level", level),
        "statuses": status_table(graded),
        "comparisons": comparison_table(
            frame, settings.compare, draws=settings.draws, level=level, rng=rng
        ),
    }
    if pairs_of_runs := settings.pairs_of_runs():
        tables["runs"] = run_table(frame, pairs_of_runs, settings.runs, level=level)
    tables |= tables_of_models(frame, accuracy, wanted, rng)
    pairs = unquantized(wanted)
    systems = [name for name in wanted.evaluate.systems() if any(name in pair for pair in pairs)]
    styles = response_style.style_frame(read_answers(models), graded, problems, systems)
    tables |= response_style.tables(
        styles, pairs, response_style.Bootstrap(settings.draws, level, rng)
    )
    for name, table in tables.items():
        with atomic_replace(TABLES / f"{name}.csv") as aside:
            table.to_csv(aside, index=False, lineterminator="\n")
    held_out = wanted.evaluate.held_out
    write_json(METRICS / "accuracy.json", {"accuracy": headline(accuracy, held_out)})


def grade_all(
    answers: Iterable[tuple[str, Generation]],
    replies: dict[AnswerKey, str],
    problems: dict[str, list[Problem]],
    sandbox: SandboxLimits,
) -> list[EvalRecord]:
    """Return the verdict of every (system, generation) pair."""
    places = {p.id: (name, p) for name, members in problems.items() for p in members}
    rows, asked = tee(answers)
    judged = grade_batch(
        (
            submission(
                places[row.problem_id][1],
                row,
                replies.get((system, row.problem_id, row.prompting)),
            )
            for system, row in asked
        ),
        sandbox,
    )
    return [
        EvalRecord(
            benchmark=places[row.problem_id][0],
            problem_id=places[row.problem_id][1].id,  # one string for all of its rows
            system=system,
            prompting=row.prompting,
            status=one.verdict.status,
            extracted=one.verdict.extracted,
            output=one.output[:OUTPUT_SHOWN],
            finish_reason=row.finish_reason,
            n_tokens=row.n_tokens,
            option_source=one.option_source,
        )
        for (system, row), one in zip(rows, judged, strict=True)
    ]


def tables_of_models(
    frame: pd.DataFrame, accuracy: pd.DataFrame, wanted: Params, rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Return the table of all models and, if any is quantized, those of the quantized ones."""
    names, settings = list(wanted.evaluate.models), wanted.analyze
    reports = {name: read_json(MODEL_REPORTS / f"{name}.json") for name in names}
    likelihoods = {
        name: read_parquet(LIKELIHOODS / f"{name}.parquet", Likelihood) for name in names
    }
    table = model_table(reports, likelihoods, wanted.quantize, wanted.grpo, level=settings.interval)
    tables = {"models": table}
    families = wanted.quantize.families(names)
    exports = read_exports(reports, wanted)
    shown = {model: wanted.evaluate.shown(model) for family in families for model in family}
    shown |= {one["model"]: one["model"] for one in exports}
    if shown:
        made = quantization_table(table, likelihoods, accuracy, shown, level=settings.interval)
        exported = export_table(exports, level=settings.interval)
        tables["quantization"] = pd.concat([made, exported], ignore_index=True)
    if families:
        pairs = [(shown[one], shown[family[0]]) for family in families for one in family[1:]]
        tables["quantization_differences"] = difference_table(
            frame, pairs, draws=settings.draws, level=settings.interval, rng=rng
        )
    return tables


def read_exports(reports: dict[str, dict[str, Any]], wanted: Params) -> list[dict[str, Any]]:
    """Return what was measured of exports of the models that were evaluated.

    Exports of other weights are left out, which the log says, and those of a model that is
    shown with in-context examples, without which exports are asked.
    """
    kept = []
    for path in sorted(EXPORT_REPORTS.glob("*.json")):
        found = read_json(path)
        model = found["model"]
        if found["fingerprint"] != reports.get(model, {}).get("fingerprint"):
            print(f"{path}: left out: not of the evaluated {model}")  # noqa: T201
        elif wanted.evaluate.shown(model) == model:
            kept.append(found)
    return kept


def unquantized(wanted: Params) -> list[list[str]]:
    """Return the compared pairs of systems that are both as they were trained."""
    rounded = {
        system_name(model, shots)
        for model in wanted.quantize.models
        for shots in wanted.evaluate.models.get(model, [])
    }
    return [pair for pair in wanted.analyze.compare if not rounded & set(pair)]


def headline(accuracy: pd.DataFrame, held_out: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return accuracy by benchmark, system and prompting, for ``dvc metrics``.

    ``others`` is the mean over all benchmarks but the held-out one.
    """
    shares: dict[tuple[str, str, str], list[float]] = {}
    for row in accuracy.to_dict("records"):
        if row["answer_mode"] in PROMPTINGS:
            benchmark = held_out if row["benchmark"] == held_out else OTHERS
            key = (benchmark, row["system"], row["answer_mode"])
            shares.setdefault(key, []).append(row["accuracy"])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (benchmark, system, prompting), values in shares.items():
        found.setdefault(benchmark, {}).setdefault(system, {})[prompting] = round(fmean(values), 3)
    return found


def _by(frame: pd.DataFrame, column: str, level: float) -> pd.DataFrame:
    return accuracy_table(frame, ["benchmark", "system", column], level=level)


if __name__ == "__main__":
    console.run_stage("analyze", main)
