"""Trained models that are broken rather than worse: hardly any answer ends, or most skill is gone.

A step that is too large for its base leaves such a model. Its numbers say nothing about the data
that it was trained on.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from stages.lib.analysis.answer_modes import promptings_among
from stages.lib.core.schema import system_name

COLUMNS = ("benchmark", "system", "prompting", "alarm")
MOST_CUT = 0.9
"""Share of answers at the token limit from which a model counts as broken."""
LEAST_KEPT = 0.5
"""Share of the base's accuracy below which a model counts as broken."""


def alarm_table(
    accuracy: pd.DataFrame,
    statuses: pd.DataFrame,
    trained: Collection[str],
    shots: Mapping[str, Sequence[int]],
) -> pd.DataFrame:
    """Return a row for each prompting with which a trained model looks broken, and why.

    Nearly all answers are cut at the token limit, or its accuracy is, with its whole interval,
    below half of the accuracy of the base with as many examples in the prompt, if that was
    evaluated. ``trained`` are the names of trained models, ``shots`` those of ``evaluate.models``.
    """
    scores = accuracy.set_index(["benchmark", "system", "answer_mode"])
    counts = statuses.set_index(["benchmark", "system", "prompting"])["cut"]
    rows: list[tuple[str, str, str, str]] = []
    systems = [(model, number) for model in shots if model in trained for number in shots[model]]
    promptings = promptings_among(set(accuracy["answer_mode"]))
    benchmarks = accuracy["benchmark"].unique()
    for benchmark, (name, number), prompting in product(benchmarks, systems, promptings):
        key = (benchmark, system_name(name, number), prompting)
        alarm = _cut_alarm(int(counts.loc[key]), int(scores.loc[key, "n"]))
        if not alarm and number in shots.get("base", []):
            base = scores.loc[(benchmark, system_name("base", number), prompting)]
            alarm = _loss_alarm(scores.loc[key], base)
        if alarm:
            rows.append((*key, alarm))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _cut_alarm(cut: int, n: int) -> str:
    return f"{cut} of {n} answers end at the token limit" if cut >= MOST_CUT * n else ""


def _loss_alarm(row: Any, base: Any) -> str:
    if row["high"] >= LEAST_KEPT * base["low"]:
        return ""
    return f"accuracy {row['accuracy']:.1%}, against {base['accuracy']:.1%} of the base"
