"""Draw baselines and lines with intervals."""

import pandas as pd
from matplotlib.axes import Axes

from stages.lib.figures import style


def draw_baseline(panel: Axes, score: float, low: float, high: float) -> None:
    """Draw a constant score with its interval."""
    panel.axhspan(low, high, color=style.GREY, alpha=0.15, lw=0)
    panel.axhline(score, color=style.GREY, linestyle="--", label="baseline")


def draw_line(panel: Axes, table: pd.DataFrame, label: str, color: style.Color) -> None:
    """Draw ``score`` with its interval (``low``, ``high``; or nan) against ``x``."""
    table = table.sort_values("x")
    below, above = table["score"] - table["low"], table["high"] - table["score"]
    panel.errorbar(
        table["x"],
        table["score"],
        yerr=pd.concat([below, above], axis=1).to_numpy().T,
        marker="o",
        markersize=style.MARKER_SIZE,
        linewidth=1.2,
        elinewidth=1.0,
        color=color,
        label=label,
    )
