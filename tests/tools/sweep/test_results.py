"""Scores of trials, read from their commits, their table and their figures."""

import json
import subprocess
from math import nan
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from tools.sweep import charts, results, spec
from tools.sweep.results import Scored
from tools.sweep.spec import AccuracyScore, MetricScore
from tools.sweep.trials import Trial

LOSS = MetricScore(metric="reports/a.json:deep.loss", direction="minimize")
LADDER = AccuracyScore(benchmark="ladder", answer_mode="pot", system="adaptive", baseline="uniform")
TABLE = """benchmark,system,decoding,n,accuracy,low,high
ladder,adaptive,cot,9,0.1,0.0,0.2
ladder,adaptive,pot,9,0.5,0.4,0.6
ladder,uniform,pot,9,0.7,0.6,0.8
"""


def committed(folder: Path, files: dict[str, str], number: int = 0) -> Trial:
    """Return a trial whose commit has some files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    said = ""
    for command in (["init"], ["add", "."], [*author, "commit", "-m", "t"], ["rev-parse", "HEAD"]):
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = done.stdout.strip()
    return Trial(number, {}, "t-00", said, "")


def test_scores_come_from_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"reports/a.json": json.dumps({"deep": {"loss": 0.25}})}
    trial = committed(tmp_path, files | {"reports/tables/accuracy.csv": TABLE})
    (tmp_path / "reports/a.json").unlink()
    assert results.scores_of({0: trial}, LOSS)[0].score == 0.25
    assert results.scores_of({0: trial}, LADDER) == {0: Scored(0.5, 0.4, 0.6)}
    assert results.baseline_of({0: trial}, LADDER) == Scored(0.7, 0.6, 0.8)


BAD_SCORES = [
    (LOSS, {"deep": {"los": 1}}, "score.metric: 'deep.loss': 'loss': expected one of ['los']"),
    (LOSS, {"deep": {"loss": "low"}}, "score.metric: 'deep.loss': 'low': expected a number"),
    (LADDER, {}, "reports/tables/accuracy.csv: experiment t-00: git show: "),
]


@pytest.mark.parametrize(("score", "found", "message"), BAD_SCORES)
def test_a_score_that_is_not_there_is_named(
    score: AccuracyScore | MetricScore,
    found: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    trial = committed(tmp_path, {"reports/a.json": json.dumps(found)})
    with pytest.raises(ValueError) as error:
        results.scores_of({0: trial}, score)
    assert message in str(error.value)


def test_a_loss_that_is_not_a_number_is_a_failed_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trial = committed(tmp_path, {"reports/a.json": '{"deep": {"loss": NaN}}'})
    assert results.scores_of({0: trial}, LOSS) == {}


def grid_results() -> tuple[dict[int, Trial], dict[int, Scored]]:
    """Return 16 trials; the fourth failed, the sixth is best."""
    grid = spec.load("grid")
    trials = {
        number: Trial(number, values, f"grid-{number:02d}", "c", "" if number != 3 else "boom")
        for number, values in enumerate(grid.tried())
    }
    means = {number: 0.9 if number == 5 else 0.4 + number / 100 for number in trials}
    scores = {number: Scored(mean, mean - 0.1, mean + 0.05) for number, mean in means.items()}
    del scores[3]
    return trials, scores


def test_failed_trials_stand_in_the_table_and_not_among_the_best() -> None:
    table = results.table(spec.load("grid"), *grid_results())
    assert len(table) == 16
    assert table.loc[3, ["b", "w", "error"]].tolist() == [0, 2, "boom"]
    best = results.best(table, "maximize", 3)
    assert best["experiment"].tolist() == ["grid-05", "grid-15", "grid-14"]
    assert best[["b", "w"]].iloc[0].tolist() == [1, 0.5]
    worst = results.best(table, "minimize", 20)
    assert len(worst) == 15
    assert worst["trial"].iloc[0] == 0


def drawn_lines(figure: Figure) -> dict[str, list[float]]:
    """Return what is drawn under each name of the legend: values in percent."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    found = {}
    for handle, label in zip(handles, labels, strict=True):
        line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
        found[label] = heights(line)
    return found


def heights(line: Any) -> list[float]:
    return [round(value, 3) for value in line.get_ydata()]


def test_a_grid_is_drawn_as_a_line_per_value_beside_the_baseline() -> None:
    table = results.table(spec.load("grid"), *grid_results())
    baseline = Scored(0.7, 0.6, 0.8)
    figure = charts.draw(table, spec.load("grid"), baseline, "colorblind", 6.5)
    assert drawn_lines(figure) == {
        "baseline": [70, 70],
        "b = 0": [40, 41, 42],
        "b = 1": [44, 90, 46, 47],
        "b = 2": [48, 49, 50, 51],
        "b = 3": [52, 53, 54, 55],
    }
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0.25", "0.5", "1", "2"]


def test_a_search_is_drawn_by_trial_and_by_each_parameter() -> None:
    search = spec.load("search")
    trials = {
        number: Trial(number, values, f"search-{number:02d}", "c", "")
        for number, values in enumerate(search.tried())
    }
    losses = {number: Scored(abs(number - 4.0), nan, nan) for number in trials}
    table = results.table(search, trials, losses)
    figure = charts.draw(table, search, None, "colorblind", 6.5)
    names = [panel.get_xlabel() for panel in figure.axes]
    assert names == ["trial", "rank", "learning rate", "dropout", "decay", "packing (steps)"]
    so_far, dots, best = figure.axes[0].get_lines()
    assert heights(so_far)[:6] == [4, 3, 2, 1, 0, 0]
    assert len(heights(dots)) == len(trials)
    assert heights(best) == [0]
