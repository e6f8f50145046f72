"""The figure of a sweep: the score by trial, and by each parameter."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.lib.figures import style
from tools.sweep.spec import Sweep


def draw_sweep(table: pd.DataFrame, sweep: Sweep, palette: str, width_in: float) -> Figure:
    """Draw the scores of a sweep's trials, a panel per parameter, and mark the best."""
    scored = table.dropna(subset="score").reset_index(drop=True)
    order = scored["score"] if sweep.score.direction == "maximize" else -scored["score"]
    best = scored.loc[[order.idxmax()]]
    colors = style.palette(palette, ["trials", "best"])
    marks: dict[str, Any] = {"markersize": style.MARKER_SIZE, "linestyle": "none"}
    columns = ["trial", *sweep.paths]
    with rc_context(style.STYLE):
        figure, panels = style.panels(len(columns), width_in, 2.1)
        for panel, column in zip(panels, columns, strict=True):
            panel.set_xlabel(".".join(column.split(".")[-2:]))
            for name, rows in (("trials", scored), ("best", best)):
                panel.plot(
                    rows[column], rows["score"], "o", color=colors[name], label=name, **marks
                )
            if column in sweep.ranges and sweep.ranges[column].log:
                panel.set_xscale("log")
            panel.grid(axis="y")
        panels[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        for panel in panels[:: style.MAX_COLUMNS]:
            panel.set_ylabel(sweep.score.key.replace("_", " "))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        return figure
