"""Which models count as broken, at the limits."""

from typing import Any

import pandas as pd
import pytest

from stages.lib.analysis.alarms import alarm_table

SHOTS = {"base": [0], "tuned": [0, 2], "other": [0]}


def tables(**tuned: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of three models, the tuned one with changes."""
    base = {"n": 100, "accuracy": 0.4, "low": 0.3, "high": 0.5, "cut": 95}
    rows = [
        {"benchmark": "b", "system": system, "answer_mode": "cot", "prompting": "cot"} | values
        for system, values in (
            ("base", base),
            ("tuned", base | {"cut": 0} | tuned),
            ("tuned-2shot", base | {"cut": 0, "high": 0.01, "low": 0.0}),
            ("other", base),
        )
    ]
    frame = pd.DataFrame(rows)
    return frame, frame


@pytest.mark.parametrize(
    ("tuned", "alarm"),
    [
        ({}, None),
        ({"cut": 89}, None),
        ({"cut": 90}, "90 of 100 answers end at the token limit"),
        ({"accuracy": 0.1, "high": 0.15}, None),
        ({"accuracy": 0.1, "high": 0.149}, "accuracy 10.0%, against 40.0% of the base"),
    ],
)
def test_a_trained_model_is_broken_if_answers_are_cut_or_skill_is_gone(
    tuned: dict[str, Any], alarm: str | None
) -> None:
    # The base and a model that was not trained here may be cut; with two examples there is no base.
    table = alarm_table(*tables(**tuned), trained={"tuned"}, shots=SHOTS)
    assert table.columns.tolist() == ["benchmark", "system", "prompting", "alarm"]
    expected = [["b", "tuned", "cot", alarm]] if alarm else []
    assert table.to_numpy().tolist() == expected
