"""The results of a sweep: the score of each trial, and a table of them."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import pandas as pd

from stages.lib.figures import style
from tools.sweep.spec import AccuracyScore, MetricScore, Sweep, Values
from tools.sweep.trials import Trial, file_of

SCORES = ("score", "low", "high")


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with the interval that its table gives, or nan."""

    score: float
    low: float
    high: float


def scores_of(
    trials: Mapping[int, Trial], wanted: AccuracyScore | MetricScore
) -> dict[int, Scored]:
    """Read the scores of the trials that made one; nan or infinite is none.

    Raises ValueError if a trial did not fail and yet has no such number.
    """
    found = {number: _score(one, wanted) for number, one in trials.items() if not one.error}
    return {number: scored for number, scored in found.items() if isfinite(scored.score)}


def baseline_of(trials: Mapping[int, Trial], wanted: AccuracyScore | MetricScore) -> Scored | None:
    """Read the accuracy of the baseline, which is the same beside every trial, if wanted."""
    if not isinstance(wanted, AccuracyScore) or wanted.baseline is None:
        return None
    first = next(one for one in trials.values() if not one.error)
    return _accuracy(file_of(first, wanted.file), wanted, wanted.baseline)


def table(wanted: Sweep, trials: Mapping[int, Trial], scores: Mapping[int, Scored]) -> pd.DataFrame:
    """Return a row per trial that ended, failed ones among them.

    Columns: ``trial``, ``experiment``, one per parameter (its label), ``score``, ``low``
    and ``high`` (nan without an interval or a score), ``error``.
    """
    rows = []
    for number, trial in sorted(trials.items()):
        scored = scores.get(number, Scored(nan, nan, nan))
        rows.append(
            {"trial": number, "experiment": trial.experiment}
            | labelled(wanted, trial.values)
            | {name: getattr(scored, name) for name in SCORES}
            | {"error": trial.error or ("" if number in scores else "the score is not finite")}
        )
    labels = [one.label for one in wanted.parameters.values()]
    return pd.DataFrame(rows, columns=["trial", "experiment", *labels, *SCORES, "error"])


def best(found: pd.DataFrame, direction: str, count: int) -> pd.DataFrame:
    """Return the rows with the best scores, the best first; of equal ones the earlier."""
    ascending = direction == "minimize"
    ranked = found.sort_values(["score", "trial"], ascending=[ascending, True])
    return ranked.dropna(subset="score").head(count).drop(columns="error")


def labelled(wanted: Sweep, values: Values) -> dict[str, Any]:
    """Return a point by the labels of its parameters; what is no scalar becomes text."""
    return {one.label: cell(values[path]) for path, one in wanted.parameters.items()}


def cell(value: Any) -> Any:
    """Return a value as a table shows it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return value if isinstance(value, int | float | str) else str(value)


def score_label(wanted: AccuracyScore | MetricScore) -> str:
    """Return what a score is called."""
    if isinstance(wanted, MetricScore):
        return wanted.key.rpartition(".")[2].replace("_", " ")
    answer_mode = style.DECODINGS[wanted.answer_mode]
    return f"{wanted.benchmark}: accuracy of {wanted.system}, {answer_mode} (%)"


def _score(trial: Trial, wanted: AccuracyScore | MetricScore) -> Scored:
    text = file_of(trial, wanted.file)
    if isinstance(wanted, AccuracyScore):
        return _accuracy(text, wanted, wanted.system)
    return Scored(_number(json.loads(text), wanted), nan, nan)


def _accuracy(text: str, wanted: AccuracyScore, system: str) -> Scored:
    found = pd.read_csv(io.StringIO(text))
    place = {"benchmark": wanted.benchmark, "system": system, "answer_mode": wanted.answer_mode}
    rows = [row for row in found.to_dict("records") if place.items() <= row.items()]
    if len(rows) != 1:
        raise ValueError(f"score: {wanted.file}: {len(rows)} rows of {place}: expected one")
    return Scored(*(float(rows[0][name]) for name in ("accuracy", "low", "high")))


def _number(found: Any, wanted: MetricScore) -> float:
    known: Sequence[str] = []
    for part in wanted.key.split("."):
        known = list(found) if isinstance(found, dict) else []
        if part not in known:
            raise ValueError(f"score.metric: {wanted.key!r}: {part!r}: expected one of {known}")
        found = found[part]
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"score.metric: {wanted.key!r}: {found!r}: expected a number")
    return float(found)
