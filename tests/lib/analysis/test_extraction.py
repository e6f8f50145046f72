"""Strict and flexible accuracy by hand, and the agreement of two graders."""

from typing import Any

import pandas as pd
import pytest

from stages.lib.analysis.extraction import agreement_table, extraction_table
from stages.lib.analysis.intervals import wilson_interval
from stages.lib.core.schema import EvalRecord


def record(status: Any, *, stated: bool = True, **changes: Any) -> EvalRecord:
    values: dict[str, Any] = {
        "benchmark": "b",
        "problem_id": "p",
        "system": "s",
        "prompting": "cot",
        "extracted": "1",
        "output": "",
        "finish_reason": "stop",
        "n_tokens": 3,
    }
    return EvalRecord(**(values | {"status": status, "stated": stated} | changes))


def test_only_stated_answers_count_as_strict() -> None:
    table = extraction_table(
        [
            record("correct"),
            record("correct", stated=False),
            record("correct", option_source="follow_up"),
            record("wrong"),
            record("wrong", stated=False),
            record("correct", prompting="pot"),
        ],
        level=0.95,
    )
    (row,) = table.to_dict("records")
    assert (row["n"], row["n_stated"], row["strict"], row["flexible"]) == (5, 2, 0.2, 0.6)
    for name, correct in (("strict", 1), ("flexible", 3)):
        interval = wilson_interval(correct, 5, level=0.95)
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(interval, abs=1e-4)


def test_graders_agree_where_both_say_the_same() -> None:
    pairs = [(True, True)] * 5 + [(False, False)] * 3 + [(True, False), (False, True), (True, None)]
    verdicts = [
        {"benchmark": "b", "system": "s", "correct": ours, "other": other} for ours, other in pairs
    ]
    (row,) = agreement_table(verdicts, level=0.95).to_dict("records")
    counts = {name: row[name] for name in ("n", "only_ours", "only_other", "other_failed")}
    assert counts == {"n": 11, "only_ours": 1, "only_other": 1, "other_failed": 1}
    assert row["agree"] == pytest.approx(8 / 11, abs=1e-4)
    assert (row["accuracy"], row["other_accuracy"]) == pytest.approx((7 / 11, 6 / 11), abs=1e-4)
    failed = agreement_table([verdicts[-1]], level=0.95)
    assert failed["agree"].tolist() == [0]
    assert pd.notna(failed).all(axis=None)
