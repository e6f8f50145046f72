"""What all figures share: their style, colours, panels, dots with intervals, and files.

The same figure gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Color = tuple[float, float, float]
Colors = Mapping[str, Any]

# Seaborn asks pyplot for a few things; only this backend needs no screen anywhere.
matplotlib.use("Agg")

DECODINGS = {"cot": "CoT", "pot": "PoT", "fallback": "PoT‖CoT"}
INK, GREY = "#262626", "#8c8c8c"
STYLE: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper", font_scale=0.92),
    # The font that matplotlib carries: the same on every machine.
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "xtick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.size": 3,
    "ytick.major.width": 0.7,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.edgecolor": "none",
    "legend.framealpha": 1,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.4,
    "svg.fonttype": "path",
    "svg.hashsalt": "uphill",
}
MARKERS = ["o", "D", "s", "^", "v", "P", "X"]
MARKER_SIZE = 4
ACROSS = 4


def palette(name: str, drawn: Sequence[str]) -> dict[str, Color]:
    """Return a colour of the named palette per drawn name, in order.

    Raises ValueError for an unknown palette.
    """
    try:
        return dict(zip(drawn, sns.color_palette(name, len(drawn)), strict=True))
    except ValueError as error:
        raise ValueError(f"figures.palette: {name!r}: expected one that seaborn has") from error


def save(figure: Figure, stem: Path, *, dpi: int) -> None:
    """Write ``stem.svg``, with its text as outlines, and ``stem.png``; both without dates."""
    with rc_context(STYLE):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None}, dpi=dpi)


def height(rows: int, row_in: float) -> float:
    """Return the height in inches of panels with so many rows."""
    return 0.9 + rows * row_in


def panels(
    count: int, width_in: float, height_in: float, *, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, at most four in a row of ``height_in``."""
    rows, columns = ceil(count / ACROSS), min(count, ACROSS)
    figure = Figure(figsize=(width_in, rows * height_in), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel().tolist()
    for spare in panels[count:]:
        spare.remove()
    for panel in panels[:count]:
        sns.despine(ax=panel, left=sharey)
    return figure, panels[:count]


def dots(
    panel: Axes,
    table: pd.DataFrame,
    estimate: str,
    rows: tuple[str, Sequence[str]],
    hues: tuple[str, Colors],
) -> None:
    """Draw an estimate and its interval, in percent, per row and, beside each other, hue."""
    (row, order), (hue, colors) = rows, hues
    table = part(table, row, order)
    # Of an estimate and the two ends of its interval, the estimate is the median.
    ends = table.melt(id_vars=[row, hue], value_vars=[estimate, "low", "high"])
    look: dict[str, Any] = {
        "order": list(order),
        "hue_order": list(colors),
        "palette": dict(colors),
        "dodge": min(0.27 * (len(colors) - 1), 0.72),
        "markers": MARKERS[: len(colors)],
        "markersize": MARKER_SIZE,
        "linestyles": "none",
        "err_kws": {"linewidth": 1.1},
    }
    sns.pointplot(
        ends.assign(percent=100 * ends["value"]),
        x="percent",
        y=row,
        hue=hue,
        estimator="median",
        errorbar=("pi", 100),
        legend=False,
        ax=panel,
        **look,
    )
    panel.set_ylabel("")
    panel.grid(axis="x")
    panel.tick_params(axis="y", length=0)


def percent_axis(panel: Axes, label: str, end: float = 100) -> None:
    """Show 0 to ``end`` percent, with room for a dot at either end."""
    panel.set(xlabel=label, xlim=(-0.045 * end, 1.045 * end))
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def handles(colors: Colors) -> list[Line2D]:
    """Return what a legend shows for the dots of each name."""
    look: dict[str, Any] = {"linestyle": "none", "markersize": MARKER_SIZE}
    return [
        Line2D([], [], color=color, marker=marker, label=name, **look)
        for marker, (name, color) in zip(MARKERS, colors.items(), strict=False)
    ]


def legend_above(panel: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend of one line above a panel."""
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
    panel.legend(handles, labels, ncols=len(labels), **place)


def part(table: pd.DataFrame, column: str, values: Sequence[str]) -> pd.DataFrame:
    """Return the rows with these values in a column. Raises ValueError for one without rows."""
    missing = [value for value in values if value not in set(table[column])]
    if missing:
        raise ValueError(f"{column}: {missing[0]!r}: expected in the table")
    return table.loc[table[column].isin(values)]
