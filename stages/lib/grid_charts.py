"""Figures of a grid of b and w: mean score by w, and by decoding, with intervals.

``table`` is that of ``replication.domain_table``: a row per domain, model and decoding,
with ``accuracy``, ``low`` and ``high`` as shares. Axes show percent.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.lib import plotting
from stages.lib.published import Model

APART = 1.07
"""How far the points of one w stand apart, as a factor on the logarithmic axis."""

DECODINGS = plotting.DECODINGS | {"both": "both", "either": "either"}


@rc_context(plotting.STYLE)
def score_by_weight(
    table: pd.DataFrame, models: Sequence[Model], palette: str, width_in: float
) -> Figure:
    """Draw the mean PoT‖CoT score against w, a line per b; baselines are dashed."""
    table = plotting.part(table, "decoding", ["fallback"])
    domains = list(table["domain"].unique())
    figure, panels = plotting.panels(len(domains), width_in, 2.6, sharey=False)
    colors = plotting.palette(palette, sorted({f"b = {m.b:g}" for m in models if m.b is not None}))
    for panel, domain in zip(panels, domains, strict=True):
        rows = _percent(table[table["domain"] == domain].set_index("system"))
        for model in models:
            if model.b is None and model.name in rows.index:
                baseline(panel, *rows.loc[model.name])
        for number, (label, color) in enumerate(colors.items()):
            drawn = [m for m in models if m.b is not None and f"b = {m.b:g}" == label]
            drawn = [m for m in drawn if m.name in rows.index]
            shift = APART ** (number - (len(colors) - 1) / 2)
            places = [shift * (m.w or 0) for m in drawn]
            line(panel, rows.loc[[m.name for m in drawn]].assign(x=places), label, color)
        panel.set(title=domain, xlabel="w", xscale="log")
        panel.set_xticks(sorted({m.w for m in models if m.w}), minor=False)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.minorticks_off()
        panel.grid(axis="y")
    panels[0].set_ylabel("Mean accuracy, PoT‖CoT (%)")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[1]))
    return figure


@rc_context(plotting.STYLE)
def score_by_decoding(
    table: pd.DataFrame, models: Sequence[Model], palette: str, width_in: float
) -> Figure:
    """Draw the mean score of every model with every decoding."""
    domains = list(table["domain"].unique())
    labels = [label(model) for model in models]
    height_in = plotting.height(len(models), 0.5)
    figure, panels = plotting.panels(len(domains), width_in, height_in)
    colors = plotting.palette(palette, list(DECODINGS))
    names = {model.name: label(model) for model in models}
    named = table.assign(model=[names[system] for system in table["system"]])
    for panel, domain in zip(panels, domains, strict=True):
        rows = plotting.part(named, "domain", [domain])
        shown = [name for name in labels if name in set(rows["model"])]
        plotting.dots(panel, rows, "accuracy", ("model", shown), ("decoding", colors))
        panel.set_title(domain)
        plotting.percent_axis(panel, "Mean accuracy (%)")
    handles = plotting.handles({DECODINGS[name]: color for name, color in colors.items()})
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def label(model: Model) -> str:
    """Return a model's short name."""
    if model.b is None or model.w is None:
        return "baseline"
    return f"b = {model.b:g}, w = {model.w:g}"


def baseline(panel: Axes, score: float, low: float, high: float) -> None:
    """Draw a score that is the same everywhere, with its interval."""
    panel.axhspan(low, high, color=plotting.GREY, alpha=0.15, lw=0)
    panel.axhline(score, color=plotting.GREY, linestyle="--", label="baseline")


def line(panel: Axes, table: pd.DataFrame, label: str, color: plotting.Color) -> None:
    """Draw ``score`` with its interval (``low``, ``high``; or nan) against ``x``."""
    table = table.sort_values("x")
    below, above = table["score"] - table["low"], table["high"] - table["score"]
    panel.errorbar(
        table["x"],
        table["score"],
        yerr=pd.concat([below, above], axis=1).to_numpy().T,
        marker="o",
        markersize=plotting.MARKER_SIZE,
        linewidth=1.2,
        elinewidth=1.0,
        color=color,
        label=label,
    )


def _percent(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "score": 100 * table["accuracy"],
            "low": 100 * table["low"],
            "high": 100 * table["high"],
        }
    )
