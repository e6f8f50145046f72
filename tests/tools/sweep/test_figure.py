"""The figure of a sweep."""

import pandas as pd

from tests.tools.sweep.committed import committed, grid_rows
from tools.sweep.figure import draw_sweep


def test_scores_are_drawn_by_trial_and_by_each_parameter() -> None:
    figure = draw_sweep(pd.DataFrame(grid_rows()), committed("grid"), "colorblind", 6.5)
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
