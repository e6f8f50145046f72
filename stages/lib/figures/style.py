"""Style, colors, panels, dots with intervals, and files of all figures.

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

# Seaborn uses pyplot, which would look for a screen with any other backend.
matplotlib.use("Agg")

INK, GREY = "#262626", "#8c8c8c"
STYLE: dict[Any, Any] = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("paper", font_scale=0.92),
    # The font that matplotlib ships: the same on every machine.
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
MAX_COLUMNS = 4


def palette(name: str, labels: Sequence[str]) -> dict[str, Color]:
    """Return a color of the named palette for each label, in order.

    Raises ValueError for an unknown palette.
    """
    try:
        return dict(zip(labels, sns.color_palette(name, len(labels)), strict=True))
    except ValueError as error:
        raise ValueError(f"figures.palette: {name!r}: expected a seaborn palette") from error


def save(figure: Figure, stem: Path, *, dpi: int) -> None:
    """Write ``stem.svg``, with text as outlines, and ``stem.png``, both without dates."""
    with rc_context(STYLE):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None}, dpi=dpi)


def figure_height(rows: int, row_in: float) -> float:
    """Return the height in inches of panels with a number of rows."""
    return 0.9 + rows * row_in


def panels(
    count: int, width_in: float, height_in: float, *, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, at most ``MAX_COLUMNS`` in a row of ``height_in``."""
    rows, columns = ceil(count / MAX_COLUMNS), min(count, MAX_COLUMNS)
    figure = Figure(figsize=(width_in, rows * height_in), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel().tolist()
    for spare in panels[count:]:
        spare.remove()
    for panel in panels[:count]:
        sns.despine(ax=panel, left=sharey)
    return figure, panels[:count]


def draw_dots(
    panel: Axes,
    table: pd.DataFrame,
    estimate: str,
    rows: tuple[str, Sequence[str]],
    hues: tuple[str, Colors],
) -> None:
    """Draw an estimate with its interval, in percent, for each row and hue.

    ``rows`` is the column of the rows with their order, ``hues`` the column of the hues with
    their colors; the dots of one row stand one above the other.
    """
    (row, order), (hue, colors) = rows, hues
    table = select_rows(table, row, order)
    # Seaborn draws the median of three values, which is the estimate, and a bar from the
    # lowest to the highest, which are the ends of the interval.
    ends = table.melt(id_vars=[row, hue], value_vars=[estimate, "low", "high"])
    options: dict[str, Any] = {
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
        **options,
    )
    panel.set_ylabel("")
    panel.grid(axis="x")
    panel.tick_params(axis="y", length=0)


def percent_axis(panel: Axes, label: str, end: float = 100) -> None:
    """Set an axis from 0 to ``end`` percent, with room for a dot at either end."""
    panel.set(xlabel=label, xlim=(-0.045 * end, 1.045 * end))
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def handles(colors: Colors) -> list[Line2D]:
    """Return the legend handles of the dots of each name."""
    options: dict[str, Any] = {"linestyle": "none", "markersize": MARKER_SIZE}
    return [
        Line2D([], [], color=color, marker=marker, label=name, **options)
        for marker, (name, color) in zip(MARKERS, colors.items(), strict=False)
    ]


def legend_above(panel: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend of one line above a panel."""
    position: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
    panel.legend(handles, labels, ncols=len(labels), **position)


def select_rows(table: pd.DataFrame, column: str, values: Sequence[str]) -> pd.DataFrame:
    """Return the rows with these values in a column; ValueError for a value without rows."""
    missing = [value for value in values if value not in set(table[column])]
    if missing:
        raise ValueError(f"{column}: {missing[0]!r}: expected in the table")
    return table.loc[table[column].isin(values)]
