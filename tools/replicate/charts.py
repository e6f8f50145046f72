"""Figures of a grid of b and w: mean score by w, and by answer mode, with intervals.

``table`` is that of ``regrade.domain_table``: a row per domain, model and answer mode,
with ``accuracy``, ``low`` and ``high`` as shares. Axes show percent.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.figures import style
from tools.replicate.results import PublishedModel

OFFSET = 1.07
"""The distance between the points of one w, as a factor on the logarithmic axis."""


@rc_context(style.STYLE)
def score_by_weight(
    table: pd.DataFrame, models: Sequence[PublishedModel], palette: str, width_in: float
) -> Figure:
    """Draw the mean PoT‖CoT score against w, a line per b; baselines are dashed."""
    table = style.select_rows(table, "answer_mode", ["fallback"])
    domains = list(table["domain"].unique())
    figure, panels = style.panels(len(domains), width_in, 2.6, sharey=False)
    colors = style.palette(palette, sorted({f"b = {m.b:g}" for m in models if m.b is not None}))
    for panel, domain in zip(panels, domains, strict=True):
        rows = table[table["domain"] == domain].set_index("system")
        rows = 100 * rows[["accuracy", "low", "high"]]
        for model in models:
            if model.b is None and model.name in rows.index:
                accuracy, low, high = rows.loc[model.name]
                panel.axhspan(low, high, color=style.GREY, alpha=0.15, lw=0)
                panel.axhline(accuracy, color=style.GREY, linestyle="--", label="baseline")
        for index, (label, color) in enumerate(colors.items()):
            line = [m for m in models if m.b is not None and f"b = {m.b:g}" == label]
            line = [model for model in line if model.name in rows.index]
            # Offset lines slightly so that error bars do not overlap.
            offset = OFFSET ** (index - (len(colors) - 1) / 2)
            x = [offset * (model.w or 0) for model in line]
            _draw_line(panel, rows.loc[[model.name for model in line]].assign(x=x), label, color)
        panel.set(title=domain, xlabel="w", xscale="log")
        panel.set_xticks(sorted({m.w for m in models if m.w}), minor=False)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        panel.grid(axis="y")
    panels[0].set_ylabel("Mean accuracy, PoT‖CoT (%)")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[1]))
    return figure


@rc_context(style.STYLE)
def score_by_answer_mode(
    table: pd.DataFrame, models: Sequence[PublishedModel], palette: str, width_in: float
) -> Figure:
    """Draw the mean score of every model in every answer mode."""
    domains = list(table["domain"].unique())
    labels = [model_label(model) for model in models]
    height_in = style.figure_height(len(models), 0.5)
    figure, panels = style.panels(len(domains), width_in, height_in)
    colors = style.palette(palette, list(ANSWER_MODES))
    names = {model.name: model_label(model) for model in models}
    named = table.assign(model=[names[system] for system in table["system"]])
    for panel, domain in zip(panels, domains, strict=True):
        rows = style.select_rows(named, "domain", [domain])
        drawn = [name for name in labels if name in set(rows["model"])]
        style.draw_dots(panel, rows, "accuracy", ("model", drawn), ("answer_mode", colors))
        panel.set_title(domain)
        style.percent_axis(panel, "Mean accuracy (%)")
    handles = style.handles({ANSWER_MODES[name]: color for name, color in colors.items()})
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def model_label(model: PublishedModel) -> str:
    """Return a model's short name."""
    if model.b is None or model.w is None:
        return "baseline"
    return f"b = {model.b:g}, w = {model.w:g}"


def _draw_line(panel: Axes, table: pd.DataFrame, label: str, color: style.Color) -> None:
    """Draw ``accuracy`` with its interval (``low``, ``high``; or nan) against ``x``."""
    table = table.sort_values("x")
    errors = table[["low", "high"]].sub(table["accuracy"], axis=0).abs()
    panel.errorbar(
        table["x"],
        table["accuracy"],
        yerr=errors.to_numpy().T,
        marker="o",
        markersize=style.MARKER_SIZE,
        linewidth=1.2,
        elinewidth=1.0,
        color=color,
        label=label,
    )
