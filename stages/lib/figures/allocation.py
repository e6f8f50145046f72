"""The figures of online mixtures: what an arm sees of each cell over time, and what it gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.figures import style

COLUMNS = ["step", "source", "prompting", "weight", "signal"]

# A share of four times, or a quarter of, an equal one is at the end of the color scale.
LARGEST_RATIO = 4


@rc_context(style.STYLE)
def allocation(
    tables: Mapping[str, pd.DataFrame], sources: Sequence[str], width_in: float
) -> Figure:
    """Draw each cell's weight over time, relative to the mean of all cells, a panel per run.

    ``tables`` has, by run, the columns ``COLUMNS``: a row per segment of the run and cell. Rows
    of a panel are cells, in the order of ``sources``; colors are logarithmic.
    """
    limit = np.log2(LARGEST_RATIO)
    ratios = {
        name: pd.DataFrame(np.log2(weights / weights.mean()))
        for name, weights in _by_cell(tables, "weight", sources).items()
    }
    figure, bar = _heatmaps(ratios, width_in, cmap="vlag", vmin=-limit, vmax=limit)
    bar.set_label("Weight over the mean weight")
    ticks = [-2, -1, 0, 1, 2]
    bar.set_ticks(ticks, labels=[f"{2.0**tick:g}" for tick in ticks])
    return figure


@rc_context(style.STYLE)
def learning(tables: Mapping[str, pd.DataFrame], sources: Sequence[str], width_in: float) -> Figure:
    """Draw the accuracy of each cell that an online arm saw in its fresh examples, over time.

    ``tables`` are as in ``allocation``. Steps before an arm had seen enough are left white. A
    single panel has two thirds of the width.
    """
    if len(tables) == 1:
        width_in *= 2 / 3
    signals = {name: 100 * values for name, values in _by_cell(tables, "signal", sources).items()}
    figure, bar = _heatmaps(signals, width_in, cmap="crest", vmin=0, vmax=100)
    bar.set_label("Accuracy seen (%)")
    return figure


def _by_cell(
    tables: Mapping[str, pd.DataFrame], column: str, sources: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return a column of each run as a table of cells, in the order of ``sources``, and steps."""
    index = ["source", "prompting"]
    cells = set(pd.concat(tables.values())[index].itertuples(index=False, name=None))
    order = [
        (source, prompting)
        for prompting in sorted({prompting for _, prompting in cells})
        for source in sources
        if (source, prompting) in cells
    ]
    return {
        name: table.pivot_table(index=index, columns="step", values=column, dropna=False).reindex(
            pd.MultiIndex.from_tuples(order, names=index)
        )
        for name, table in tables.items()
    }


def _heatmaps(
    values: Mapping[str, pd.DataFrame], width_in: float, **colors: Any
) -> tuple[Figure, Colorbar]:
    """Draw a panel for each run, a row for each cell; return the figure and its color bar."""
    (first, *_) = values.values()
    labels = [f"{source}, {ANSWER_MODES[prompting]}" for source, prompting in first.index]
    figure, panels = style.panels(len(values), width_in, style.figure_height(len(labels), 0.15))
    for panel, (name, table) in zip(panels, values.items(), strict=True):
        sns.heatmap(
            table,
            ax=panel,
            cbar=False,
            xticklabels=max(1, len(table.columns) // 6),
            yticklabels=labels,
            rasterized=True,
            **colors,
        )
        panel.set(title=name, xlabel="optimizer step", ylabel="")
        panel.tick_params(axis="both", length=0)
    return figure, figure.colorbar(panels[-1].collections[0], ax=panels, shrink=0.6)
