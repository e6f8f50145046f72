"""Table of models: origin, size, perplexity and speed."""

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib.analysis.ratio import ratio_interval
from stages.lib.analysis.speeds import COLUMNS, NO_KERNEL, summarize_speeds
from stages.lib.core.paths import PASSAGES, TRAINING
from stages.lib.core.schema import Likelihood
from stages.lib.params.quantization import Gptq, Quantize, quantized_models
from stages.lib.params.sampling import Sample, Score
from stages.lib.params.strategies import OnlineGroup, Weigh

FULL_BITS = 16


def families(quantize: Quantize, evaluated: Sequence[str]) -> list[list[str]]:
    """Return each evaluated original followed by its evaluated quantized models."""
    parent_of = {
        name: model.parent
        for name, model in quantized_models(quantize).items()
        if name in evaluated
    }
    return [
        [original, *(name for name, parent in parent_of.items() if parent == original)]
        for original in evaluated
        if original in parent_of.values()
    ]


def model_table(
    reports: Mapping[str, Mapping[str, Any]],
    likelihoods: Mapping[str, Sequence[Likelihood]],
    quantize: Quantize,
    trained_from: Mapping[str, str],
    *,
    level: float,
) -> pd.DataFrame:
    """Return size, perplexity with its interval, and speed of every model.

    ``reports`` and ``likelihoods`` hold the measurements by model. ``parent`` is the model that
    a model was quantized from or, by ``trained_from``, trained from; ``calibration_seed`` is the
    seed of GPTQ's calibration set. Speeds are medians, with the minimum and maximum of the
    repeats, or ``NO_KERNEL``.
    """
    rows = []
    for name, report in reports.items():
        quantized = quantized_models(quantize).get(name)
        gptq = quantized if isinstance(quantized, Gptq) else None
        speed = report["speed"]  # None where the engine has no kernel
        rows.append(
            {
                "model": name,
                "parent": quantized.parent if quantized else trained_from.get(name, ""),
                "method": quantized.method if quantized else "",
                "calibration": calibration_kind(gptq) if gptq else "",
                "calibration_seed": gptq.calibration_seed if gptq else "",
                "bits": quantized.bits if quantized else FULL_BITS,
                "bytes": report["weight_bytes"],
                "memory_bytes": report["memory_bytes"],
                **perplexity(likelihoods[name], level=level),
                **(summarize_speeds(speed) if speed else dict.fromkeys(COLUMNS, NO_KERNEL)),
            }
        )
    return pd.DataFrame(rows)


def calibration_kind(model: Gptq) -> str:
    """Return "training" for the examples of a model's parent, "text" for the packaged passages.

    Otherwise it is "training of" and the other arm, or the name of an own file.
    """
    path = Path(model.calibrate_on)
    if path.parent == TRAINING:
        return "training" if path.stem == model.parent else f"training of {path.stem}"
    return "text" if path == PASSAGES else path.name


def perplexity(likelihoods: Sequence[Likelihood], *, level: float) -> dict[str, float]:
    """Return the perplexity of held-out solutions and its interval, as columns."""
    losses = [row.nats for row in likelihoods]
    return _exponential("perplexity", losses, likelihoods, level)


def perplexity_ratio(
    likelihoods: Sequence[Likelihood], original: Sequence[Likelihood], *, level: float
) -> dict[str, float]:
    """Return a perplexity over the original's, of the same solutions, with its interval."""
    original_nats = {row.problem_id: row.nats for row in original}
    losses = [row.nats - original_nats[row.problem_id] for row in likelihoods]
    return _exponential("perplexity_ratio", losses, likelihoods, level)


def _exponential(
    name: str, losses: Sequence[float], likelihoods: Sequence[Likelihood], level: float
) -> dict[str, float]:
    """Return exp of the loss per token, in columns ``name``, ``name_low`` and ``name_high``."""
    n_tokens = [row.n_tokens for row in likelihoods]
    sources = [row.source for row in likelihoods]
    ratio, low, high = ratio_interval(losses, n_tokens, sources, level=level)
    columns = {name: ratio, f"{name}_low": low, f"{name}_high": high}
    return {column: round(exp(value), 4) for column, value in columns.items()}


def online_runs(weigh: Weigh) -> list[str]:
    """Return the online arms and their replays: the runs whose cells have weights over time."""
    arms = [name for name, arm in weigh.arms.items() if isinstance(arm, OnlineGroup)]
    return [*arms, *weigh.replays]


def has_difficulty(sample: Sample, score: Score) -> bool:
    """Return whether problems have a difficulty, measured or published."""
    return sample.k > 0 or score.definition == "published"
