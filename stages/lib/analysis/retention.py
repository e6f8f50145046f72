"""Retention: the share of its original's accuracy that a quantized model keeps."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student

from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.answer_modes import promptings_among
from stages.lib.analysis.intervals import sparse_interval
from stages.lib.analysis.models import calibration_kind
from stages.lib.analysis.paired import MIN_DISCORDANT
from stages.lib.analysis.seeds import crossed_variance, stratum_codes
from stages.lib.params.evaluation import MIN_RUNS
from stages.lib.params.quantization import Gptq, QuantizedModel


class Retention(NamedTuple):
    """The accuracy of quantized models over that of their original, with its interval."""

    ratio: float
    low: float
    high: float


def retention(
    quantized: ArrayLike, original: ArrayLike, strata: ArrayLike, *, level: float
) -> Retention:
    """Return the retention of R quantized models (R, n) of one original (n,), of 0 and 1.

    The models are draws of one quantization setting, with other calibration texts; the problems
    lie in ``strata`` (n,). The interval is that of a ratio r of means by the delta method:
    Student's for the mean of x - r y over draws and problems, by ``seeds.crossed_variance``,
    divided by the mean of y. Where a model and the original differ on fewer than
    ``MIN_DISCORDANT`` problems, it is ``sparse_interval`` of the first model's difference, divided
    by the mean of y.

    Raises ValueError if the original solves no problem, for arrays of other shapes, and where the
    interval needs a variance for a stratum with one problem only.
    """
    x, y = np.asarray(quantized, dtype=float), np.asarray(original, dtype=float)
    if x.ndim != 2 or y.shape != x.shape[1:]:
        raise ValueError(f"quantized, original: {x.shape}, {y.shape}: expected (R, n) and (n,)")
    if not y.any():
        raise ValueError("original: no problem is solved: expected an accuracy above 0")
    ratio = float(x.mean() / y.mean())
    if np.count_nonzero(x != y) < MIN_DISCORDANT * len(x):
        low, high = (1 + end / y.mean() for end in sparse_interval(x[0], y, level=level))
        return Retention(ratio, min(ratio, low), max(ratio, high))
    index = stratum_codes(strata)
    variance, freedom = crossed_variance(x - ratio * y, index)
    half = float(student.ppf((1 + level) / 2, freedom)) * sqrt(variance) / y.mean()
    return Retention(ratio, max(0.0, ratio - half), ratio + half)


def retention_table(
    frame: pd.DataFrame,
    models: Mapping[str, QuantizedModel],
    systems: Mapping[str, str],
    *,
    level: float,
) -> pd.DataFrame:
    """Return a row per benchmark, original, quantization setting and prompting.

    ``frame`` is that of ``accuracy.answer_frame``, ``models`` are the evaluated quantized models,
    ``systems`` the system that stands for a model. Models that differ in their calibration seed
    alone are draws of one setting; fewer than ``MIN_RUNS`` say nothing about draws, and the first
    one stands alone. Where the original solves no problem, there is no retention.
    """
    rows: list[dict[str, Any]] = []
    for (benchmark,), members in groups(frame, ["benchmark"]):
        for prompting in promptings_among(frame.columns):
            # Retention compares in pairs: each row has the answers of all systems to one problem.
            solved = members.pivot(index="problem_id", columns="system", values=prompting)
            sources = members.drop_duplicates("problem_id").set_index("problem_id")["source"]
            strata = sources[solved.index].to_numpy()
            for (parent, method, bits, calibration), draws in _draws_by_setting(models).items():
                original = solved[systems[parent]].to_numpy()
                quantized = solved[[systems[name] for name in draws]].to_numpy().T
                kept: list[float | None] = [None, None, None]
                if original.any():
                    result = retention(quantized, original, strata, level=level)
                    kept = [round(value, 4) for value in result]
                rows.append(
                    {
                        "benchmark": benchmark,
                        "original": parent,
                        "method": method,
                        "bits": bits,
                        "calibration": calibration,
                        "answer_mode": prompting,
                        "draws": len(draws),
                        "n": len(original),
                        "strata": "source",
                        "original_accuracy": round(float(original.mean()), 4),
                        "accuracy": round(float(quantized.mean()), 4),
                        **dict(zip(("retention", "low", "high"), kept, strict=True)),
                    }
                )
    return pd.DataFrame(rows)


def _draws_by_setting(
    models: Mapping[str, QuantizedModel],
) -> dict[tuple[str, str, int, str], Sequence[str]]:
    """Return the names of models by original, method, bits and calibration."""
    settings: dict[tuple[str, str, int, str], list[str]] = {}
    for name, model in models.items():
        calibration = calibration_kind(model) if isinstance(model, Gptq) else ""
        settings.setdefault((model.parent, model.method, model.bits, calibration), []).append(name)
    return {
        setting: names if len(names) >= MIN_RUNS else names[:1]
        for setting, names in settings.items()
    }
