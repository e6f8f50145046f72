"""The headline numbers of a run, which ``dvc metrics diff`` compares."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import pandas as pd

from stages.lib.core.schema import PROMPTINGS


def headline(
    tables: Mapping[str, pd.DataFrame], pairs: Sequence[Sequence[str]], held_out: str
) -> dict[str, Any]:
    """Return the numbers by name, shares between 0 and 1, by prompting.

    ``accuracy`` is that of each system on the held-out benchmark, ``accuracy_others`` its mean
    over the other benchmarks, ``difference`` that of each of ``pairs`` on the held-out one, with
    its interval; ``sampled`` has avg@n, pass@k and maj@k there. ``retention`` is by original,
    method and bits, ``perplexity_ratio`` by quantized model. ``tables`` are those of
    ``stages.analyze``; parts without rows are left out.
    """
    metrics: dict[str, Any] = {}
    # Lists at first: ``accuracy_others`` is a mean over several benchmarks.
    for row in _of_promptings(tables["accuracy"]):
        part = "accuracy" if row["benchmark"] == held_out else "accuracy_others"
        of_system = metrics.setdefault(part, {}).setdefault(row["system"], {})
        of_system.setdefault(row["answer_mode"], []).append(row["accuracy"])
    for part in metrics.values():
        for of_system in part.values():
            of_system.update({name: _rounded(fmean(v)) for name, v in of_system.items()})
    compared = {tuple(pair) for pair in pairs}
    for row in _of_promptings(tables["comparisons"]):
        if row["benchmark"] == held_out and (row["first"], row["second"]) in compared:
            name = f"{row['first']}_minus_{row['second']}"
            values = {key: _rounded(row[key]) for key in ("difference", "low", "high")}
            metrics.setdefault("difference", {}).setdefault(name, {})[row["answer_mode"]] = values
    for row in _of_promptings(tables.get("retention")):
        if row["benchmark"] == held_out and not pd.isna(row["retention"]):
            calibration = "" if row["calibration"] in ("", "training") else f"-{row['calibration']}"
            name = f"{row['original']}-{row['method']}{row['bits']}{calibration}"
            of_setting = metrics.setdefault("retention", {}).setdefault(name, {})
            of_setting[row["answer_mode"]] = _rounded(row["retention"])
    for row in _of_promptings(tables.get("sampled")):
        if row["benchmark"] == held_out:
            of_system = metrics.setdefault("sampled", {}).setdefault(row["system"], {})
            measures = of_system.setdefault(row["answer_mode"], {})
            measures[f"{row['measure']}_at_{row['k']}"] = _rounded(row["value"])
    if "quantization" in tables:
        ratios = tables["quantization"].dropna(subset=["perplexity_ratio"])
        metrics["perplexity_ratio"] = {
            row["model"]: _rounded(row["perplexity_ratio"]) for row in ratios.to_dict("records")
        }
    return metrics


def study_numbers(
    endpoints: Sequence[Mapping[str, str]], arms: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return the registered differences of a study by stratum, and the spread of its runs.

    Both are rows of the tables that ``tools.study`` writes. ``run_sd`` is the standard deviation
    over runs of each arm's accuracy on hard cells.
    """
    numbers: dict[str, Any] = {}
    for row in endpoints:
        name = f"{row['first']}_minus_{row['second']}"
        values = {key: _rounded(float(row[key])) for key in ("difference", "low", "high")}
        numbers.setdefault(name, {})[row["stratum"]] = values
    spread = {
        row["system"]: _rounded(float(row["run_sd"]))
        for row in arms
        if row["stratum"] == "hard" and row["run_sd"]
    }
    return numbers | {"run_sd": spread}


def _of_promptings(table: pd.DataFrame | None) -> Iterator[dict[Any, Any]]:
    """Yield the rows of CoT and of PoT, without those of combined answer modes."""
    if table is not None:
        yield from (row for row in table.to_dict("records") if row["answer_mode"] in PROMPTINGS)


def _rounded(value: float) -> float:
    return round(float(value), 4)
