"""Figure of sampled answers: pass@k and maj@k by the number of samples."""

import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from stages.lib.analysis.answer_modes import ANSWER_MODES, modes_among
from stages.lib.figures import style

COLUMNS = ("system", "answer_mode", "measure", "k", "value")
TITLES = {"pass": "At least one of $k$ (pass@$k$)", "maj": "Majority vote of $k$ (maj@$k$)"}


@rc_context(style.STYLE)
def sampled(table: pd.DataFrame, colors: style.Colors, width_in: float) -> Figure:
    """Draw both measures by k, a line for each system, and a row of panels for each answer mode.

    ``table`` has ``COLUMNS``, ``colors`` the systems. For one sample both measures are avg@n.
    """
    modes = modes_among(set(table["answer_mode"]))
    figure = Figure(figsize=(width_in, 0.6 + 2.4 * len(modes)), layout="constrained")
    rows = figure.subplots(len(modes), 2, squeeze=False, sharex=True, sharey="row")
    averages = table.loc[table["measure"] == "avg"].assign(k=1)
    ks = sorted({1, *table["k"]})
    for panels, mode in zip(rows, modes, strict=True):
        for panel, (measure, title) in zip(panels, TITLES.items(), strict=True):
            curve = pd.concat([averages, table.loc[table["measure"] == measure]])
            curve = curve.loc[curve["answer_mode"] == mode]
            sns.lineplot(
                curve.assign(percent=100 * curve["value"]),
                x="k",
                y="percent",
                hue="system",
                hue_order=list(colors),
                palette=dict(colors),
                marker="o",
                markersize=style.MARKER_SIZE,
                legend=False,
                ax=panel,
            )
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_locator(FixedLocator(ks))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_formatter(ScalarFormatter())
            panel.set(xlabel="Samples, $k$", ylabel="Solved (%)")
            panel.set_title(f"{ANSWER_MODES[mode]}: {title}" if len(modes) > 1 else title)
            panel.grid(axis="y")
            sns.despine(ax=panel)
    lines = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=lines, loc="outside upper center", ncols=style.MAX_COLUMNS)
    return figure
