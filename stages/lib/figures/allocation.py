"""The figure of online mixtures: what each cell gets over time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.figures import style

COLUMNS = ["step", "source", "prompting", "weight"]

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
    cells = pd.concat(tables.values())[["source", "prompting"]].drop_duplicates()
    order = [
        (source, prompting)
        for prompting in sorted(set(cells["prompting"]))
        for source in sources
        if ((cells["source"] == source) & (cells["prompting"] == prompting)).any()
    ]
    labels = [f"{source}, {ANSWER_MODES[prompting]}" for source, prompting in order]
    height = style.figure_height(len(order), 0.15)
    figure, panels = style.panels(len(tables), width_in, height)
    for panel, (name, table) in zip(panels, tables.items(), strict=True):
        weights = table.pivot_table(index=["source", "prompting"], columns="step", values="weight")
        ratios = np.log2(weights.loc[order] / weights.mean())
        sns.heatmap(
            ratios,
            ax=panel,
            cmap="vlag",
            center=0,
            vmin=-np.log2(LARGEST_RATIO),
            vmax=np.log2(LARGEST_RATIO),
            cbar=False,
            xticklabels=max(1, len(weights.columns) // 6),
            yticklabels=labels,
            rasterized=True,
        )
        panel.set(title=name, xlabel="optimizer step", ylabel="")
        panel.tick_params(axis="both", length=0)
    bar = figure.colorbar(panels[-1].collections[0], ax=panels, shrink=0.6)
    bar.set_label("Weight over the mean weight")
    ticks = [-2, -1, 0, 1, 2]
    bar.set_ticks(ticks, labels=[f"{2.0**tick:g}" for tick in ticks])
    return figure
