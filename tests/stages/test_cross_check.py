"""The second grader over the answers of a run: agreement, and each disagreement."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import analyze, cross_check
from stages.lib.core.paths import AGREEMENT
from tests.stages.test_analyze import TEXTS, write_inputs


def test_both_graders_are_compared_on_each_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Ours takes the answer back, Math-Verify does not.
    monkeypatch.setitem(TEXTS, "base", ("The answer is {answer}. Wait, no: 99.", "no program"))
    write_inputs()
    analyze.main()
    cross_check.main()
    table: Any = pd.read_csv(AGREEMENT / "agreement.csv", index_col=["benchmark", "system"])
    columns = ["n", "agree", "accuracy", "other_accuracy", "only_ours", "only_other"]
    assert table.loc[("gsm8k", "uniform"), columns].tolist() == [3, 1, 1, 1, 0, 0]
    assert table.loc[("ladder", "adaptive"), columns].tolist() == [6, 1, 0, 0, 0, 0]
    assert table.loc[("ladder", "base-1shot"), columns].tolist() == [6, 0, 0, 1, 0, 6]
    # The programs are not graded again.
    assert table["n"].sum() == 4 * (6 + 3)
    rows = pd.read_csv(AGREEMENT / "disagreements.csv", dtype=str)
    assert len(rows) == 2 * (6 + 3)
    first = rows.iloc[0].to_dict()
    assert first["reference"] + " " + first["ours"] == "0 wrong"
    assert (first["extracted"], first["math_verify"]) == ("99", "correct")
    assert first["end_of_text"] == "The answer is 0. Wait, no: 99."
