"""Scores read from files, the table of a sweep and its figure."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from tools.sweep.__main__ import choose_point, trial_row
from tools.sweep.figure import draw_sweep
from tools.sweep.results import Estimate, best_row, read_accuracy, read_score
from tools.sweep.search import next_point
from tools.sweep.spec import AccuracyScore, MetricScore, load_sweep

LOSS = MetricScore(metric="reports/a.json:deep.loss", direction="minimize")
LADDER = AccuracyScore(benchmark="ladder", answer_mode="pot", system="adaptive", baseline="uniform")
TABLE = """benchmark,system,answer_mode,n,accuracy,low,high
ladder,adaptive,cot,9,0.1,0.0,0.2
ladder,adaptive,pot,9,0.5,0.4,0.6
ladder,uniform,pot,9,0.7,0.6,0.8
"""


def test_scores_are_read_with_their_intervals() -> None:
    assert read_score('{"deep": {"loss": 0.25}}', LOSS).score == 0.25
    assert read_score(TABLE, LADDER) == Estimate(0.5, 0.4, 0.6)
    assert read_accuracy(TABLE, LADDER, "uniform") == Estimate(0.7, 0.6, 0.8)


BAD_SCORES: list[tuple[AccuracyScore | MetricScore, str, str]] = [
    (LOSS, '{"deep": {"los": 1}}', "score.metric: 'deep.loss': 'loss': expected one of ['los']"),
    (LOSS, '{"deep": {"loss": "low"}}', "score.metric: 'deep.loss': 'low': expected a number"),
    (LADDER, TABLE.replace("pot", "fallback"), "reports/tables/accuracy.csv: 0 rows of {'bench"),
]


@pytest.mark.parametrize(("score", "text", "message"), BAD_SCORES)
def test_a_missing_score_is_named(
    score: AccuracyScore | MetricScore, text: str, message: str
) -> None:
    with pytest.raises(ValueError) as error:
        read_score(text, score)
    assert message in str(error.value)


class SavedTrials:
    """Trials of a sweep with given texts of the score's file."""

    def __init__(self, name: str, texts: list[str]) -> None:
        self.sweep, self.texts = load_sweep(name), texts

    def experiment(self, number: int) -> str:
        return f"{self.sweep.method}-{number:02d}"

    def read_file(self, number: int, path: Path) -> str:
        return self.texts[number]


def test_a_loss_that_is_not_a_number_is_a_failed_trial() -> None:
    trials: Any = SavedTrials("search", ['{"validation_loss": NaN}', '{"validation_loss": 2}'])
    points = trials.sweep.points()[:2]
    rows = [trial_row(trials, number, values, "") for number, values in enumerate(points)]
    assert [row["error"] for row in rows] == ["the score is not finite", ""]
    history = [(points[0], None), (points[1], 2.0)]
    assert choose_point(trials.sweep, points, rows) == next_point(trials.sweep, history)


@pytest.fixture
def grid_rows() -> list[dict[str, Any]]:
    """Return the rows of 16 trials; the fourth failed, the sixth is best."""
    accuracies = [0.9 if number == 5 else 0.4 + number / 100 for number in range(16)]
    line = "ladder,adaptive,fallback,9,{},{},{}\n"
    head = TABLE.partition("\n")[0] + "\n"
    texts = [head + line.format(share, share - 0.1, share + 0.05) for share in accuracies]
    trials: Any = SavedTrials("grid", texts)
    return [
        trial_row(trials, number, values, "boom" if number == 3 else "")
        for number, values in enumerate(trials.sweep.points())
    ]


def test_a_failed_trial_is_in_the_table_and_never_the_best(grid_rows: list[dict[str, Any]]) -> None:
    columns = ["trial", "experiment", "b", "w", "score", "low", "high", "error"]
    assert list(grid_rows[0]) == columns
    assert [grid_rows[3][name] for name in ("b", "w", "error")] == [0, 2, "boom"]
    best = best_row(grid_rows, "maximize")
    assert [best[name] for name in ("experiment", "b", "w")] == ["grid-05", 1, 0.5]
    assert best_row(grid_rows, "minimize")["trial"] == 0


def heights(line: Any) -> list[float]:
    return [round(value, 3) for value in line.get_ydata()]


def drawn_lines(figure: Figure) -> dict[str, list[float]]:
    """Return the values, in percent, under each name of the legend."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    lines = [handle[0] if isinstance(handle, ErrorbarContainer) else handle for handle in handles]
    return {label: heights(line) for line, label in zip(lines, labels, strict=True)}


def test_a_grid_is_drawn_as_a_line_per_value_beside_the_baseline(
    grid_rows: list[dict[str, Any]],
) -> None:
    baseline = Estimate(0.7, 0.6, 0.8)
    table = pd.DataFrame(grid_rows)
    figure = draw_sweep(table, load_sweep("grid"), baseline, "colorblind", 6.5)
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
    texts = [json.dumps({"validation_loss": abs(number - 4)}) for number in range(13)]
    trials: Any = SavedTrials("search", texts)
    points = trials.sweep.points()
    rows = [trial_row(trials, number, values, "") for number, values in enumerate(points)]
    figure = draw_sweep(pd.DataFrame(rows), trials.sweep, None, "colorblind", 6.5)
    labels = [panel.get_xlabel() for panel in figure.axes]
    assert labels == ["trial", "rank", "learning rate", "dropout", "decay", "packing (steps)"]
    dots, best = figure.axes[0].get_lines()
    assert heights(dots) == [abs(number - 4) for number in range(13)]
    best_x: Any = best.get_xdata()
    assert (list(best_x), heights(best)) == ([4], [0])
