"""Tables of quantized and exported models beside their originals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import pandas as pd

from stages.lib.analysis import intervals, paired
from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.answer_modes import promptings_among
from stages.lib.analysis.comparisons import paired_frames
from stages.lib.analysis.models import families, model_table, perplexity_ratio
from stages.lib.analysis.retention import retention_table
from stages.lib.analysis.speeds import SPEEDS, summarize_speeds
from stages.lib.analysis.systems import default_system
from stages.lib.core.schema import Likelihood, system_name
from stages.lib.params.evaluation import Pair
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params

ALL = "all"


@dataclass(frozen=True)
class ModelMeasurements:
    """Measurements of models: reports and likelihoods by model, and the reports of exports."""

    reports: Mapping[str, Mapping[str, Any]]
    likelihoods: Mapping[str, Sequence[Likelihood]]
    exports: Sequence[Mapping[str, Any]]


def unquantized_pairs(params: Params) -> list[Pair]:
    """Return the compared pairs of systems in which neither is quantized."""
    quantized = {
        system_name(model, shots)
        for model in quantized_models(params.quantize)
        for shots in params.evaluate.models.get(model, [])
    }
    return [pair for pair in params.analyze.compare if quantized.isdisjoint(pair)]


def model_tables(
    frame: pd.DataFrame,
    accuracy: pd.DataFrame,
    measured: ModelMeasurements,
    params: Params,
    bootstrap: intervals.Bootstrap,
) -> dict[str, pd.DataFrame]:
    """Return the models table, plus the quantization tables if some model is quantized.

    ``frame`` is that of ``accuracy.answer_frame``, ``accuracy`` has a row per benchmark, system
    and answer mode.
    """
    level = bootstrap["level"]
    later = {**params.grpo.models, **params.model.adapted}
    trained_from = {name: model.parent for name, model in later.items()}
    models = model_table(
        measured.reports, measured.likelihoods, params.quantize, trained_from, level=level
    )
    tables = {"models": models}
    model_families = families(params.quantize, list(params.evaluate.models))
    systems = {
        model: default_system(params.evaluate, model)
        for family in model_families
        for model in family
    }
    # An original that was exported but not quantized is in the table too.
    systems |= {export["model"]: export["model"] for export in measured.exports}
    if systems:
        quantized = quantization_table(models, measured.likelihoods, accuracy, systems, level=level)
        exported = export_table(measured.exports, level=level)
        tables["quantization"] = pd.concat([quantized, exported], ignore_index=True)
    if model_families:
        pairs = [
            (systems[model], systems[original])
            for original, *members in model_families
            for model in members
        ]
        tables["quantization_differences"] = quantization_differences(frame, pairs, **bootstrap)
        members = quantized_models(params.quantize)
        evaluated = {name: model for name, model in members.items() if name in systems}
        tables["retention"] = retention_table(frame, evaluated, systems, level=level)
    return tables


def quantization_table(
    models: pd.DataFrame,
    likelihoods: Mapping[str, Sequence[Likelihood]],
    accuracy: pd.DataFrame,
    systems: Mapping[str, str],
    *,
    level: float,
) -> pd.DataFrame:
    """Return the rows of ``models`` for originals and their quantized models, with more columns.

    These are the ratio of the perplexity to the original's, of the same solutions, and
    accuracy with its interval, of n problems, by benchmark and prompting. ``systems`` names
    the system in ``accuracy`` that stands for a model, in the order of the table.
    """
    by_key = accuracy.set_index(["benchmark", "system", "answer_mode"])
    promptings = promptings_among(set(accuracy["answer_mode"]))
    by_model = {row["model"]: row for row in models.to_dict("records")}
    rows = []
    for model, system in systems.items():
        row = {"model": model, "system": system} | by_model[model]
        # An original has the columns too, but empty.
        row |= dict.fromkeys(["perplexity_ratio", "perplexity_ratio_low", "perplexity_ratio_high"])
        if row["method"]:
            row |= perplexity_ratio(likelihoods[model], likelihoods[row["parent"]], level=level)
        for benchmark in accuracy["benchmark"].unique():
            for prompting in promptings:
                scores = by_key.loc[(benchmark, system, prompting)]
                row[f"{benchmark}_n"] = scores["n"]
                for ending, column in (("", "accuracy"), ("_low", "low"), ("_high", "high")):
                    row[f"{benchmark}_{prompting}{ending}"] = scores[column]
        rows.append(row)
    return pd.DataFrame(rows)


def export_table(exports: Sequence[Mapping[str, Any]], *, level: float) -> pd.DataFrame:
    """Return rows of the quantization table from the reports of ``tools.export``.

    Columns that were not measured, such as PoT, are empty. Additional columns are the speeds
    at batch 1 of the model itself in vLLM, in the same run, and how often two answers to the
    same problem had the same grade: the export's and vLLM's, and vLLM's in other batches.
    """
    rows = []
    for export in exports:
        name = f"{export['model']}-onnx-{export['precision']}"
        row: dict[str, Any] = {
            "model": name,
            "system": name,
            "parent": export["model"],
            "method": f"onnx-{export['precision']}",
            "bits": export["bits"],
            "bytes": export["exported"]["bytes"],
            "memory_bytes": "",
            "calibration_seed": "",
            **_single_speeds(export["exported"]),
            **{f"vllm_{key}": value for key, value in _single_speeds(export["vllm"]).items()},
            "same_grade": export["agreement"]["same_grade"],
            "vllm_same_grade": export["vllm_with_itself"]["same_grade"],
        }
        for benchmark, counts in export["by_benchmark"].items():
            n, n_correct = counts["n"], counts["right"]
            row[f"{benchmark}_n"] = n
            if n:  # an export may answer a part of the benchmarks only
                low, high = intervals.wilson_interval(n_correct, n, level=level)
                row[f"{benchmark}_cot"] = round(n_correct / n, 4)
                row[f"{benchmark}_cot_low"] = round(low, 4)
                row[f"{benchmark}_cot_high"] = round(high, 4)
        rows.append(row)
    return pd.DataFrame(rows)


def quantization_differences(
    frame: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    **bootstrap: Unpack[intervals.Bootstrap],
) -> pd.DataFrame:
    """Return the paired difference of each (system, original) by benchmark and topic.

    ``frame`` is that of ``accuracy.answer_frame``. Over a whole benchmark (topic ``all``)
    problems are resampled inside their source, inside a topic all together.
    """
    rows = []
    for (benchmark,), members in groups(frame, ["benchmark"]):
        parts = [(ALL, members), *((name, part) for (name,), part in groups(members, ["topic"]))]
        for topic, part in parts:
            for system, original in pairs:
                x, y = paired_frames(part, system, original)
                for answer_mode in promptings_among(frame.columns):
                    # A topic may have too few problems of a source to estimate its variance.
                    result = paired.compare(
                        x[answer_mode].to_numpy(),
                        y[answer_mode].to_numpy(),
                        strata=x["source"].to_numpy() if topic == ALL else None,
                        **bootstrap,
                    )
                    rows.append(
                        {
                            "benchmark": benchmark,
                            "topic": topic,
                            "system": system,
                            "original": original,
                            "answer_mode": answer_mode,
                            "n": len(x),
                            "strata": "source" if topic == ALL else "",
                            **result.interval(),
                        }
                    )
    return pd.DataFrame(rows)


def _single_speeds(measured: Mapping[str, Any]) -> dict[str, float]:
    return summarize_speeds({name: measured[name] for name in SPEEDS if name in measured})
