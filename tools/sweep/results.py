"""The scores of a sweep's trials, as read from files and shown in tables."""

import io
import json
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import pandas as pd

from tools.sweep.spec import AccuracyScore, MetricScore


class Estimate(NamedTuple):
    """A score with its interval (nan without one)."""

    score: float = nan
    low: float = nan
    high: float = nan


def best_row(rows: Sequence[Mapping[str, Any]], direction: str) -> Mapping[str, Any]:
    """Return the first row with the best score; at least one row must have a score."""
    choose = min if direction == "minimize" else max
    return choose((row for row in rows if not row["error"]), key=lambda row: row["score"])


def format_value(value: Any) -> Any:
    """Return a parameter's value as a table shows it: all but numbers as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return value if isinstance(value, int | float) else str(value)


def read_accuracy(text: str, score: AccuracyScore, system: str) -> Estimate:
    """Read a system's accuracy from the text of the table. Raises ValueError without one."""
    columns = {"benchmark": score.benchmark, "system": system, "answer_mode": score.answer_mode}
    table = pd.read_csv(io.StringIO(text)).to_dict("records")
    rows = [row for row in table if columns.items() <= row.items()]
    if len(rows) != 1:
        raise ValueError(f"score: {score.file}: {len(rows)} rows of {columns}: expected one")
    return Estimate(*(float(rows[0][name]) for name in ("accuracy", "low", "high")))


def read_score(text: str, score: AccuracyScore | MetricScore) -> Estimate:
    """Read a score from the text of its file. Raises ValueError if it has no such number."""
    if isinstance(score, AccuracyScore):
        return read_accuracy(text, score, score.system)
    value = json.loads(text)
    for part in score.key.split("."):
        keys = list(value) if isinstance(value, dict) else []
        if part not in keys:
            raise ValueError(f"score.metric: {score.key!r}: {part!r}: expected one of {keys}")
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"score.metric: {score.key!r}: {value!r}: expected a number")
    return Estimate(float(value))
