"""Tables of models: size, perplexity and speed, and what quantization took from an original."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.analysis import intervals, paired
from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.ratio import ratio_interval
from stages.lib.analysis.speeds import COLUMNS, NO_KERNEL, SPEEDS, summary
from stages.lib.core.schema import PROMPTINGS, Likelihood
from stages.lib.params.grpo import Grpo
from stages.lib.params.quantization import Gptq, Quantize

ALL = "all"
FULL_BITS = 16


def model_table(
    reports: Mapping[str, Mapping[str, Any]],
    likelihoods: Mapping[str, Sequence[Likelihood]],
    quantize: Quantize,
    grpo: Grpo,
    *,
    level: float,
) -> pd.DataFrame:
    """Return size, perplexity with its interval, and speed of every model.

    ``reports`` and ``likelihoods`` are what was measured, by model. ``parent`` is what a
    model was made of, ``calibration_seed`` the seed of GPTQ's calibration set. Speeds are
    medians, with the lowest and highest of the repeats, or say that there was no kernel.
    """
    rows = []
    for name, report in reports.items():
        quantized = quantize.models.get(name)
        made = quantized or grpo.models.get(name)
        speed = report["speed"]
        rows.append(
            {
                "model": name,
                "parent": made.parent if made else "",
                "method": quantized.method if quantized else "",
                "calibration": quantized.calibrate_on if isinstance(quantized, Gptq) else "",
                "calibration_seed": quantized.calibration_seed
                if isinstance(quantized, Gptq)
                else "",
                "bits": quantized.bits if quantized else FULL_BITS,
                "bytes": report["weight_bytes"],
                "memory_bytes": report["memory_bytes"],
                **_exponential("perplexity", likelihoods[name], None, level),
                **(summary(speed) if speed else dict.fromkeys(COLUMNS, NO_KERNEL)),
            }
        )
    return pd.DataFrame(rows)


def quantization_table(
    models: pd.DataFrame,
    likelihoods: Mapping[str, Sequence[Likelihood]],
    accuracy: pd.DataFrame,
    systems: Mapping[str, str],
    *,
    level: float,
) -> pd.DataFrame:
    """Return the rows of ``models`` for originals and what was quantized of them, with more.

    That is the ratio of the perplexity to the original's, of the same solutions, and
    accuracy with its interval, of n problems, by benchmark and prompting. ``systems`` names
    the system, in ``accuracy``, that a model is shown as; its order is that of the table.
    """
    shares = accuracy.set_index(["benchmark", "system", "answer_mode"])
    by_model = {row["model"]: row for row in models.to_dict("records")}
    rows = []
    for model, system in systems.items():
        row = {"model": model, "system": system} | by_model[model]
        ratio: dict[str, float | None] = dict.fromkeys(_ends("perplexity_ratio"))
        if row["method"]:
            original = likelihoods[row["parent"]]
            ratio |= _exponential("perplexity_ratio", likelihoods[model], original, level)
        row |= ratio
        for benchmark in accuracy["benchmark"].unique():
            row[f"{benchmark}_n"] = shares.loc[(benchmark, system, PROMPTINGS[0]), "n"]
            for answer_mode in PROMPTINGS:
                found = shares.loc[(benchmark, system, answer_mode)]
                for name, column in (("", "accuracy"), ("_low", "low"), ("_high", "high")):
                    row[f"{benchmark}_{answer_mode}{name}"] = found[column]
        rows.append(row)
    return pd.DataFrame(rows)


def export_table(exports: Sequence[Mapping[str, Any]], *, level: float) -> pd.DataFrame:
    """Return rows of the quantization table for what ``stages/export.py`` measured.

    What was not measured is empty, such as PoT. In columns of their own stand the speeds at
    batch 1 of the model itself in vLLM, in the same run, and how often two answers to the
    same problem had the same verdict: the export's and vLLM's, and vLLM's in other batches.
    """
    rows = []
    for one in exports:
        name = f"{one['model']}-onnx-{one['precision']}"
        row: dict[str, Any] = {
            "model": name,
            "system": name,
            "parent": one["model"],
            "method": f"onnx-{one['precision']}",
            "bits": one["bits"],
            "bytes": one["exported"]["bytes"],
            "memory_bytes": "",
            "calibration_seed": "",
            **_single_speeds(one["exported"]),
            **{f"vllm_{key}": value for key, value in _single_speeds(one["vllm"]).items()},
            "same_verdict": one["agreement"]["same_verdict"],
            "vllm_same_verdict": one["vllm_with_itself"]["same_verdict"],
        }
        for benchmark, counts in one["by_benchmark"].items():
            row[f"{benchmark}_n"] = counts["n"]
            if counts["n"]:
                low, high = intervals.wilson_interval(counts["right"], counts["n"], level=level)
                row[f"{benchmark}_cot"] = round(counts["right"] / counts["n"], 4)
                row[f"{benchmark}_cot_low"] = round(low, 4)
                row[f"{benchmark}_cot_high"] = round(high, 4)
        rows.append(row)
    return pd.DataFrame(rows)


def difference_table(
    frame: pd.DataFrame,
    of: Sequence[tuple[str, str]],
    *,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the paired difference of each (system, original) by benchmark and topic.

    ``frame`` is that of ``analysis.answer_frame``. Over a whole benchmark (topic ``all``)
    problems are resampled inside their source, inside a topic among each other.
    """
    rows = []
    for (benchmark,), members in groups(frame, ["benchmark"]):
        parts = [(ALL, members), *((name, part) for (name,), part in groups(members, ["topic"]))]
        for topic, part in parts:
            for system, original in of:
                ours = part[part["system"] == system].set_index("problem_id")
                theirs = part[part["system"] == original].set_index("problem_id").loc[ours.index]
                for answer_mode in PROMPTINGS:
                    found = paired.compare(
                        ours[answer_mode].to_numpy(),
                        theirs[answer_mode].to_numpy(),
                        strata=ours["source"].to_numpy() if topic == ALL else None,
                        draws=draws,
                        level=level,
                        rng=rng,
                    )
                    rows.append(
                        {
                            "benchmark": benchmark,
                            "topic": topic,
                            "system": system,
                            "original": original,
                            "answer_mode": answer_mode,
                            "n": len(ours),
                            "difference": round(found.difference, 4),
                            "low": round(found.low, 4),
                            "high": round(found.high, 4),
                        }
                    )
    return pd.DataFrame(rows)


def _single_speeds(measured: Mapping[str, Any]) -> dict[str, float]:
    return summary({name: measured[name] for name in SPEEDS if name in measured})


def _exponential(
    name: str, of: Sequence[Likelihood], minus: Sequence[Likelihood] | None, level: float
) -> dict[str, float]:
    """Return exp of the mean loss per token, or of its difference to another model's."""
    others = (
        {one.problem_id: one.nats for one in minus}
        if minus
        else dict.fromkeys((one.problem_id for one in of), 0.0)
    )
    found = ratio_interval(
        [one.nats - others[one.problem_id] for one in of],
        [one.n_tokens for one in of],
        [one.source for one in of],
        level=level,
    )
    return {key: round(exp(value), 4) for key, value in zip(_ends(name), found, strict=True)}


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"
