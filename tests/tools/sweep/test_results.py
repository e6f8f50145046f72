"""Scores read from files, the summary of a sweep and its figure."""

from typing import Any

import pandas as pd
import pytest

from tests.tools.sweep.committed import committed
from tools.sweep.__main__ import summary
from tools.sweep.figure import draw_sweep
from tools.sweep.spec import Objective
from tools.sweep.trials import read_score

LOSS = Objective(file="reports/a.json", key="deep.loss", direction="minimize")
LADDER = Objective(
    file="reports/tables/accuracy.csv",
    row={"benchmark": "ladder", "system": "adaptive", "answer_mode": "cot"},
    key="accuracy",
    direction="maximize",
)
TABLE = """benchmark,system,answer_mode,n,accuracy
ladder,adaptive,pot,9,0.1
ladder,adaptive,cot,9,0.5
ladder,uniform,cot,9,0.7
"""


def test_scores_are_read() -> None:
    assert read_score('{"deep": {"loss": 0.25}}', LOSS) == 0.25
    assert read_score(TABLE, LADDER) == 0.5


BAD_SCORES: list[tuple[Objective, str, str]] = [
    (LOSS, '{"deep": {"los": 1}}', "score: reports/a.json: key: 'loss': expected one of ['los']"),
    (LOSS, '{"deep": {"loss": "low"}}', "deep.loss: 'low': expected a number"),
    (LADDER, TABLE.replace("cot", "both"), "reports/tables/accuracy.csv: 0 rows of {'bench"),
]


@pytest.mark.parametrize(("score", "text", "message"), BAD_SCORES)
def test_a_missing_score_is_named(score: Objective, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        read_score(text, score)
    assert message in str(error.value)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Return the rows of the grid's 16 trials; the fourth failed, the sixth is best."""
    rows = [
        {"trial": number, "experiment": f"grid-{number:02d}", **values}
        | {"score": 0.9 if number == 5 else 0.4 + number / 100, "error": ""}
        for number, values in enumerate(committed("grid").points())
    ]
    rows[3] |= {"score": None, "error": "boom"}
    return rows


def test_a_failed_trial_is_counted_and_never_the_best(rows: list[dict[str, Any]]) -> None:
    grid = committed("grid")
    assert summary(rows, grid) == (
        "15 trials done, 1 failed; best is grid-05 with 0.9 at "
        "weigh.arms.adaptive.base=1, weigh.arms.adaptive.factor=0.5"
    )
    lowest = grid.score.model_copy(update={"direction": "minimize"})
    assert "best is grid-00" in summary(rows, grid.model_copy(update={"score": lowest}))
    assert summary(rows[3:4], grid) == "0 trials done, 1 failed"


def test_scores_are_drawn_by_trial_and_by_each_parameter(rows: list[dict[str, Any]]) -> None:
    figure = draw_sweep(pd.DataFrame(rows), committed("grid"), "colorblind", 6.5)
    labels = [panel.get_xlabel() for panel in figure.axes]
    assert labels == ["trial", "adaptive.base", "adaptive.factor"]
    for panel, best_x in zip(figure.axes, (5, 1, 0.5), strict=True):
        dots, best = panel.get_lines()
        assert dots.get_xydata().shape == (15, 2)  # type: ignore[union-attr]
        assert best.get_xydata().tolist() == [[best_x, 0.9]]  # type: ignore[union-attr]


def test_a_range_on_a_log_scale_is_drawn_on_one() -> None:
    search = committed("search")
    rows = [
        {"trial": number, "score": 1.0, **values} | {"train": str(values["train"])}
        for number, values in enumerate(search.points())
    ]
    figure = draw_sweep(pd.DataFrame(rows), search, "colorblind", 6.5)
    scales = {panel.get_xlabel(): panel.get_xscale() for panel in figure.axes}
    assert scales["train.learning_rate"] == "log"
    assert scales["tuning.dropout"] == "linear"
