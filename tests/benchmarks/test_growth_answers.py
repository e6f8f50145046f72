"""Synthetic generations: reproducible, and readable by the stages."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.growth_answers import MODELS, make_answers, make_samples
from stages import analyze, score
from stages.lib.core import paths
from stages.lib.core.files import read_json
from stages.lib.core.schema import PROMPTINGS, SampleGrade
from stages.lib.core.tables import read_parquet


def contents(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


Make = Callable[[Path, int], None]


@pytest.mark.parametrize("make", [make_samples, make_answers])
def test_the_same_files_are_made_again(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "one", 160)
    make(tmp_path / "two", 160)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") != {}


@pytest.mark.parametrize(("make", "rows"), [(make_samples, 6), (make_answers, 8)])
def test_rows_that_cannot_be_shared_are_refused(make: Make, rows: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"rows: {rows}: expected a multiple"):
        make(tmp_path, rows)


def test_samples_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_samples(tmp_path, 400)
    monkeypatch.chdir(tmp_path)
    score.main()
    verdicts = read_parquet(paths.SAMPLE_GRADES, SampleGrade)
    assert len(verdicts) == 400
    rates = read_json(paths.METRICS / "difficulty.json")["cot"]["pass_rate"]
    assert rates["train-0"] > 0.6 > 0.4 > rates["train-7"]


def test_answers_are_analyzed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_answers(tmp_path, 400)
    monkeypatch.chdir(tmp_path)
    analyze.main()
    rows = pd.read_csv(paths.TABLES / "statuses.csv").to_dict("records")
    unparsed = {
        kind: sum(row["unparsed"] for row in rows if row["prompting"] == kind)
        for kind in PROMPTINGS
    }
    assert unparsed == {"cot": 0, "pot": 200}
    assert sum(row[status] for row in rows for status in ("correct", "wrong", "unparsed")) == 400
    assert {row["system"] for row in rows} == set(MODELS)
