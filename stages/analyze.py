"""Grade every answer and compute the statistics.

Reads the benchmarks, the answers and follow-up replies of every model, its likelihoods and
reports, the reports of trainings and of exports, and the tables of a finished study; runs
model-written programs in the sandbox. Writes ``data/grades.parquet``,
``data/sampled_grades.parquet`` (empty without sampled answers), ``reports/tables/*.csv`` and
``reports/metrics.json``.

    python -m stages.analyze
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.analysis.accuracy import accuracy_table, answer_frame, status_table
from stages.lib.analysis.alarms import alarm_table
from stages.lib.analysis.comparisons import (
    comparison_table,
    run_table,
    sampled_comparison_table,
)
from stages.lib.analysis.extraction import extraction_table
from stages.lib.analysis.headline import headline, study_numbers
from stages.lib.analysis.intervals import Bootstrap
from stages.lib.analysis.quantization import ModelMeasurements, model_tables, unquantized_pairs
from stages.lib.analysis.records import grade_answers
from stages.lib.analysis.response_style import style_frame, style_tables
from stages.lib.analysis.sampled import sampled_table
from stages.lib.analysis.seeds import pairs_with_runs
from stages.lib.analysis.systems import default_system
from stages.lib.core.files import atomic_replace, read_json, write_json
from stages.lib.core.paths import (
    EXPORT_REPORTS,
    GRADES,
    LIKELIHOOD_REPORTS,
    LIKELIHOODS,
    MODEL_REPORTS,
    REPORTS,
    SAMPLED_GRADES,
    STUDY_REPORTS,
    TABLES,
    TRAINING_LOGS,
)
from stages.lib.core.schema import EvalRecord, Likelihood
from stages.lib.core.tables import read_csv, read_parquet, write_parquet
from stages.lib.generations.answers import (
    read_answers,
    read_benchmarks,
    read_follow_ups,
    sampled_store,
)
from stages.lib.params.evaluation import Evaluate
from stages.lib.params.load import load_params
from stages.lib.runtime import console


def main() -> None:
    """Grade the answers and write the tables."""
    params = load_params()
    settings, models = params.analyze, params.evaluate.models
    level = settings.interval
    problems = read_benchmarks(params.prepare.benchmarks)
    pairs = unquantized_pairs(params)
    styled_systems = {system for pair in pairs for system in pair}

    # One pass over the answers: their texts are kept only where the style tables need them.
    records, styled = [], []
    answers, follow_ups = read_answers(models), read_follow_ups(models)
    for answer, record in grade_answers(answers, follow_ups, problems, params.sandbox):
        records.append(record)
        if record.system in styled_systems:
            styled.append((answer, record))
    write_parquet(GRADES, records)
    answers = read_answers(models, sampled_store)
    sampled = [record for _, record in grade_answers(answers, follow_ups, problems, params.sandbox)]
    write_parquet(SAMPLED_GRADES, sampled, may_be_empty=EvalRecord)

    # The tables that draw from the generator keep this order, as each moves it on.
    rng = np.random.default_rng(settings.seed)
    bootstrap = Bootstrap(draws=settings.draws, level=level, rng=rng)
    frame = answer_frame(records, problems)
    accuracy = accuracy_table(frame, ["benchmark", "system"], level=level)
    statuses = status_table(records)
    tables = {"accuracy": accuracy, "statuses": statuses}
    tables["alarms"] = alarms(accuracy, statuses, models)
    tables["extraction"] = extraction_table(records, level=level)
    for column in ("source", "topic", "level"):
        by = ["benchmark", "system", column]
        tables[f"accuracy_by_{column}"] = accuracy_table(frame, by, level=level)
    tables["comparisons"] = comparison_table(frame, settings.compare, **bootstrap)
    if run_pairs := pairs_with_runs(settings):
        tables["runs"] = run_table(frame, run_pairs, settings.runs, level=level)
    tables |= model_tables(frame, accuracy, read_measurements(params.evaluate), params, bootstrap)
    tables |= style_tables(style_frame(styled, problems), pairs, bootstrap)
    if sampled:
        tables |= sampled_tables(answer_frame(sampled, problems), settings.compare, bootstrap)
    for name, table in tables.items():
        with atomic_replace(TABLES / f"{name}.csv") as tmp:
            table.to_csv(tmp, index=False, lineterminator="\n")
    metrics = headline(tables, pairs, params.evaluate.held_out)
    write_json(REPORTS / "metrics.json", metrics | doses(models) | study_of(models))


def alarms(
    accuracy: pd.DataFrame, statuses: pd.DataFrame, models: Mapping[str, Sequence[int]]
) -> pd.DataFrame:
    """Return the table of trained models that look broken, and log each."""
    trained = [name for name in models if (TRAINING_LOGS / f"{name}.json").exists()]
    table = alarm_table(accuracy, statuses, trained, models)
    for row in table.to_dict("records"):
        console.log_line("analyze: {system} on {benchmark}, {prompting}: {alarm}".format_map(row))
    return table


def sampled_tables(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], bootstrap: Bootstrap
) -> dict[str, pd.DataFrame]:
    """Return the tables of sampled answers by name."""
    return {
        "sampled": sampled_table(frame, level=bootstrap["level"]),
        "sampled_comparisons": sampled_comparison_table(frame, pairs, **bootstrap),
    }


def doses(models: Iterable[str]) -> dict[str, Any]:
    """Return how many epochs each of the models was trained for."""
    reports = {name: TRAINING_LOGS / f"{name}.json" for name in models}
    trained = {name: read_json(path) for name, path in reports.items() if path.exists()}
    epochs = {name: report["epochs"] for name, report in trained.items() if "epochs" in report}
    return {"epochs": epochs} if epochs else {}


def study_of(models: Iterable[str]) -> dict[str, Any]:
    """Return the numbers of the finished study that compares some of the models, if one does."""
    if not (STUDY_REPORTS / "endpoints.csv").exists():
        return {}
    endpoints, arms = (read_csv(STUDY_REPORTS / f"{name}.csv") for name in ("endpoints", "arms"))
    if not {row[side] for row in endpoints for side in ("first", "second")} <= set(models):
        return {}
    return {"study": study_numbers(endpoints, arms)}


def read_measurements(evaluate: Evaluate) -> ModelMeasurements:
    """Read the reports and likelihoods of the evaluated models, and the reports of exports."""
    reports = {
        name: read_json(MODEL_REPORTS / f"{name}.json")
        | read_json(LIKELIHOOD_REPORTS / f"{name}.json")
        for name in evaluate.models
    }
    likelihoods = {
        name: read_parquet(LIKELIHOODS / f"{name}.parquet", Likelihood) for name in evaluate.models
    }
    return ModelMeasurements(reports, likelihoods, read_exports(reports, evaluate))


def read_exports(reports: dict[str, dict[str, Any]], evaluate: Evaluate) -> list[dict[str, Any]]:
    """Read the reports of exports of the evaluated models.

    Exports of other weights are left out and logged. So are, silently, those of a model whose
    default system has in-context examples, as exports are evaluated without any.
    """
    exports = []
    for path in sorted(EXPORT_REPORTS.glob("*.json")):
        export = read_json(path)
        model = export["model"]
        if export["fingerprint"] != reports.get(model, {}).get("fingerprint"):
            console.log_line(f"{path}: left out: not an export of the evaluated {model}")
        elif default_system(evaluate, model) == model:
            exports.append(export)
    return exports


if __name__ == "__main__":
    console.run_stage("analyze", main)
