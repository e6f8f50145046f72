"""Figures of a grid of b and w: mean score by w, and by decoding, with intervals.

``table`` is that of ``replication.domain_table``: a row per domain, model and decoding,
with ``accuracy``, ``low`` and ``high`` as shares. Axes show percent.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from stages.lib.figures import style
from stages.lib.figures.lines import baseline, line
from tools.replicate.results import Model

APART = 1.07
"""How far the points of one w stand apart, as a factor on the logarithmic axis."""


DECODINGS = style.DECODINGS | {"both": "both", "either": "either"}


@rc_context(style.STYLE)
def score_by_weight(
    table: pd.DataFrame, models: Sequence[Model], palette: str, width_in: float
) -> Figure:
    """Draw the mean PoT‖CoT score against w, a line per b; baselines are dashed."""
    table = style.part(table, "answer_mode", ["fallback"])
    domains = list(table["domain"].unique())
    figure, panels = style.panels(len(domains), width_in, 2.6, sharey=False)
    colors = style.palette(palette, sorted({f"b = {m.b:g}" for m in models if m.b is not None}))
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


@rc_context(style.STYLE)
def score_by_decoding(
    table: pd.DataFrame, models: Sequence[Model], palette: str, width_in: float
) -> Figure:
    """Draw the mean score of every model with every decoding."""
    domains = list(table["domain"].unique())
    labels = [label(model) for model in models]
    height_in = style.height(len(models), 0.5)
    figure, panels = style.panels(len(domains), width_in, height_in)
    colors = style.palette(palette, list(DECODINGS))
    names = {model.name: label(model) for model in models}
    named = table.assign(model=[names[system] for system in table["system"]])
    for panel, domain in zip(panels, domains, strict=True):
        rows = style.part(named, "domain", [domain])
        shown = [name for name in labels if name in set(rows["model"])]
        style.dots(panel, rows, "accuracy", ("model", shown), ("answer_mode", colors))
        panel.set_title(domain)
        style.percent_axis(panel, "Mean accuracy (%)")
    handles = style.handles({DECODINGS[name]: color for name, color in colors.items()})
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def label(model: Model) -> str:
    """Return a model's short name."""
    if model.b is None or model.w is None:
        return "baseline"
    return f"b = {model.b:g}, w = {model.w:g}"


def _percent(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "score": 100 * table["accuracy"],
            "low": 100 * table["low"],
            "high": 100 * table["high"],
        }
    )
