"""The figure of what a width of weights costs: size, speed and perplexity."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from stages.lib.figures import style

COLUMNS = [
    "model",
    "parent",
    "method",
    "bits",
    "bytes",
    "perplexity",
    "perplexity_low",
    "perplexity_high",
    "tokens_per_second",
    "tokens_per_second_low",
    "tokens_per_second_high",
    "tokens_per_second_single",
    "tokens_per_second_single_low",
    "tokens_per_second_single_high",
]
# A line begins at the original; a format of one width is a marker alone.
LOOKS: dict[str, dict[str, Any]] = {
    "gptq": {"marker": "o", "linestyle": "-", "label": "GPTQ"},
    "rtn": {"marker": "s", "linestyle": "--", "label": "round to nearest"},
    "int8": {"marker": "v", "linestyle": "none", "label": "LLM.int8()"},
    "nf4": {"marker": "^", "linestyle": "none", "label": "NF4"},
}
LINES = ("gptq", "rtn")
# Perplexities that differ by more than this factor are drawn on a logarithmic axis.
FAR = 3.0
# An axis that spans more than this factor names powers of ten only.
DECADES = 500.0


@rc_context(style.STYLE)
def draw(table: pd.DataFrame, colors: style.Colors, batch: int, width_in: float) -> Figure:
    """Draw size, speed and perplexity against the bits of a weight.

    ``table`` has ``COLUMNS``, a row per model, of which those of other methods than in
    ``LOOKS`` are left out, such as exports, and originals without a quantized model;
    ``parent`` and ``method`` are missing for an original, speeds where there is no kernel.
    Of several models of one original, method and width the first is shown. ``colors`` has
    the originals, ``batch`` is how many prompts were answered at once.
    """
    figure, (size, speed, perplexity) = style.panels(3, width_in, 2.5, sharey=False)
    quantized = table["method"].isin(list(LOOKS))
    parents = table["method"].isna() & table["model"].isin(table.loc[quantized, "parent"])
    table = table.loc[quantized | parents]
    bits = sorted(set(table["bits"]), reverse=True)
    table = table.assign(at=table["bits"].map(bits.index), megabytes=table["bytes"] / 1e6)
    methods = [name for name in LOOKS if name in set(table["method"])]
    originals = table.loc[table["method"].isna()]
    for _, original in originals.iterrows():
        made = table.loc[table["parent"] == original["model"]]
        for method in methods:
            rows = made.loc[made["method"] == method].drop_duplicates("bits")
            if method in LINES:
                rows = pd.concat([original.to_frame().T, rows])
            look = LOOKS[method] | {"color": colors[original["model"]]}
            _line(size, rows, "megabytes", look)
            _line(speed, rows, "tokens_per_second", look)
            _line(speed, rows, "tokens_per_second_single", look | {"markerfacecolor": "white"})
            _line(perplexity, rows, "perplexity", look)
    for panel in (size, speed, perplexity):
        panel.set(xlabel="Bits per weight", xlim=(-0.4, len(bits) - 0.6))
        panel.set_xticks(range(len(bits)), [str(one) for one in bits])
        panel.grid(axis="y")
    size.set(ylabel="Weights (MB)", ylim=(0, None))
    speed.set(ylabel="Speed (tokens/s)")
    perplexity.set_ylabel("Perplexity")
    _logarithmic(speed)
    if np.ptp(np.log(table["perplexity"])) > np.log(FAR):
        _logarithmic(perplexity)
    _legend(figure, methods, batch, {name: colors[name] for name in originals["model"]})
    return figure


def _line(panel: Axes, rows: pd.DataFrame, column: str, look: dict[str, Any]) -> None:
    rows = rows.dropna(subset=[column]).sort_values("at")
    values = rows[column].to_numpy(dtype=float)
    errors = None
    if f"{column}_low" in rows:
        ends = rows[[f"{column}_low", f"{column}_high"]].to_numpy(dtype=float)
        errors = np.abs(ends.T - values)
    panel.errorbar(
        rows["at"].to_numpy(dtype=float),
        values,
        errors,
        markersize=style.MARKER_SIZE,
        linewidth=1.2,
        elinewidth=0.9,
        **look,
    )


def _logarithmic(panel: Axes) -> None:
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    if high > DECADES * low:
        panel.yaxis.set_major_locator(LogLocator())
    else:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, methods: list[str], batch: int, colors: style.Colors) -> None:
    ink: dict[str, Any] = {"color": style.INK, "markersize": style.MARKER_SIZE}
    plain: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    looks = [
        *(LOOKS[method] for method in methods),
        plain | {"label": f"batch of {batch}"},
        plain | {"label": "batch of 1", "markerfacecolor": "white"},
    ]
    handles = [Line2D([], [], **(ink | look)) for look in looks]
    if len(colors) > 1:
        handles += [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
