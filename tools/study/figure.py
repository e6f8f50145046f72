"""The figure of a study: each endpoint with its interval, and the difference in every run."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.lib.figures import style
from tools.study.endpoints import ArmSummary, Endpoint

RUNS_BELOW, BOUND_HALF = 0.28, 0.4
"""How far below its row the runs of an endpoint lie, and half the length of its bound's line."""


@rc_context(style.STYLE)
def draw_forest(
    endpoints: Sequence[Endpoint],
    summaries: Sequence[ArmSummary],
    *,
    level: float,
    color: style.Color,
    width_in: float,
) -> Figure:
    """Draw a row per endpoint: a diamond with its interval, below it a dot for every run.

    A dashed line is the bound that the interval, of probability ``level``, has to stay above.
    """
    by_run = {(item.system, item.stratum): np.array(item.by_run) for item in summaries}
    figure = Figure(figsize=(width_in, 0.75 + 0.5 * len(endpoints)), layout="constrained")
    panel = figure.subplots()
    for row, item in enumerate(endpoints):
        runs = by_run[item.first, item.stratum] - by_run[item.second, item.stratum]
        panel.plot(
            100 * runs,
            np.full(len(runs), row + RUNS_BELOW),
            "o",
            color=style.GREY,
            alpha=0.6,
            markersize=3.5,
            markeredgewidth=0,
        )
        result = item.comparison
        panel.plot([100 * result.low, 100 * result.high], [row, row], color=color, linewidth=1.4)
        panel.plot(100 * result.difference, row, "D", color=color, markersize=5)
        panel.plot(
            [100 * item.bound] * 2,
            [row - BOUND_HALF, row + BOUND_HALF],
            color=style.INK,
            linewidth=0.9,
            linestyle="--",
        )
    labels = [f"{item.first} − {item.second}, {item.stratum} cells" for item in endpoints]
    panel.set_yticks(range(len(endpoints)), labels)
    panel.set_ylim(len(endpoints) - 0.5, -0.5)
    panel.set_xlabel("Difference of accuracy (points)")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    figure.legend(handles=_handles(color, level), loc="outside upper center", ncols=3)
    return figure


def _handles(color: style.Color, level: float) -> list[Line2D]:
    return [
        Line2D([], [], color=color, marker="D", markersize=5, label=f"{level:.0%} interval"),
        Line2D(
            [], [], color=style.GREY, marker="o", markersize=3.5, linestyle="none", label="one run"
        ),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle="--", label="has to stay above"),
    ]
