"""Draw retention, size, speed and perplexity by bits per weight."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from stages.lib.analysis.answer_modes import ANSWER_MODES, modes_among
from stages.lib.figures import style

COLUMNS = [
    *("model", "parent", "method", "bits", "bytes"),
    *(
        f"{name}{end}"
        for name in ("perplexity", "tokens_per_second", "tokens_per_second_single")
        for end in ("", "_low", "_high")
    ),
]
# A method of several widths is a line, a format of one width a marker alone.
METHOD_STYLES: dict[str, dict[str, Any]] = {
    "gptq": {"marker": "o", "linestyle": "-", "label": "GPTQ"},
    "rtn": {"marker": "s", "linestyle": "--", "label": "round to nearest"},
    "int8": {"marker": "v", "linestyle": "none", "label": "LLM.int8()"},
    "nf4": {"marker": "^", "linestyle": "none", "label": "NF4"},
}
LINES = ("gptq", "rtn")
RETENTION_COLUMNS = [
    *("benchmark", "original", "method", "bits", "calibration", "answer_mode"),
    *("retention", "low", "high"),
]
# Perplexities that differ by more than this factor are drawn on a logarithmic axis.
LINEAR_RANGE = 3.0
# An axis that spans more than this factor has labels at powers of ten only.
DECADES_RANGE = 500.0


@rc_context(style.STYLE)
def draw(table: pd.DataFrame, colors: style.Colors, batch: int, width_in: float) -> Figure:
    """Draw size, speed and perplexity against the bits of a weight.

    ``table`` has ``COLUMNS`` and a row per model; ``parent`` and ``method`` are missing for an
    original, speeds where there is no kernel. Models of methods not in ``METHOD_STYLES``, such as
    exports, and originals without a quantized model are not drawn. Of several models with the
    same original, method and width the first is drawn. ``colors`` has the originals, ``batch``
    is the number of prompts in a batch.
    """
    figure, (size, speed, perplexity) = style.panels(3, width_in, 2.5, sharey=False)
    quantized = table["method"].isin(list(METHOD_STYLES))
    parents = table["method"].isna() & table["model"].isin(table.loc[quantized, "parent"])
    table = table.loc[quantized | parents]
    bits = sorted(set(table["bits"]), reverse=True)
    table = table.assign(position=table["bits"].map(bits.index), megabytes=table["bytes"] / 1e6)
    methods = [name for name in METHOD_STYLES if name in set(table["method"])]
    originals = table.loc[table["method"].isna()]
    for _, original in originals.iterrows():
        quantized_models = table.loc[table["parent"] == original["model"]]
        for method in methods:
            rows = quantized_models.loc[quantized_models["method"] == method]
            rows = rows.drop_duplicates("bits")
            # A line begins at the original.
            if method in LINES:
                rows = pd.concat([original.to_frame().T, rows])
            options = METHOD_STYLES[method] | {"color": colors[original["model"]]}
            _line(size, rows, "megabytes", options)
            _line(speed, rows, "tokens_per_second", options)
            single = options | {"markerfacecolor": "white"}
            _line(speed, rows, "tokens_per_second_single", single)
            _line(perplexity, rows, "perplexity", options)
    for panel in (size, speed, perplexity):
        _bits_axis(panel, bits)
    size.set(ylabel="Weights (MB)", ylim=(0, None))
    speed.set(ylabel="Speed (tokens/s)")
    perplexity.set_ylabel("Perplexity")
    _logarithmic(speed)
    if np.ptp(np.log(table["perplexity"])) > np.log(LINEAR_RANGE):
        _logarithmic(perplexity)
    plain: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    entries = [METHOD_STYLES[method] for method in methods]
    entries.append(plain | {"label": f"batch of {batch}"})
    entries.append(plain | {"label": "batch of 1", "markerfacecolor": "white"})
    _legend(figure, entries, {name: colors[name] for name in originals["model"]})
    return figure


@rc_context(style.STYLE)
def draw_retention(table: pd.DataFrame, colors: style.Colors, width_in: float) -> Figure:
    """Draw the share of accuracy that is kept against the bits of a weight, by answer mode.

    ``table`` has ``RETENTION_COLUMNS`` and the rows of one benchmark; of GPTQ, those that are
    calibrated on training examples are drawn. ``colors`` has the originals.
    """
    table = table.loc[table["calibration"].fillna("").isin(["", "training"])]
    bits = sorted(set(table["bits"]), reverse=True)
    lowest = min(table["low"].dropna().tolist(), default=1.0)
    table = table.assign(
        position=table["bits"].map(bits.index),
        kept=100 * table["retention"],
        kept_low=100 * table["low"],
        kept_high=100 * table["high"],
    )
    methods = [name for name in METHOD_STYLES if name in set(table["method"])]
    modes = modes_among(set(table["answer_mode"]))
    figure, panels = style.panels(len(modes), min(width_in, 3.4 * len(modes)), 2.6)
    originals = list(dict.fromkeys(table["original"]))
    for panel, mode in zip(panels, modes, strict=True):
        for original in originals:
            for shift, method in enumerate(methods):
                rows = table.loc[
                    (table["answer_mode"] == mode)
                    & (table["original"] == original)
                    & (table["method"] == method)
                ]
                # Markers of one width stand side by side.
                rows = rows.assign(position=rows["position"] + 0.08 * (shift - len(methods) / 2))
                _line(panel, rows, "kept", METHOD_STYLES[method] | {"color": colors[original]})
        panel.axhline(100, color=style.INK, linewidth=0.8, linestyle=":")
        panel.set_title(ANSWER_MODES[mode])
        _bits_axis(panel, bits)
        panel.set_ylim(bottom=0 if lowest < 0.5 else None)
    panels[0].set_ylabel("Accuracy kept (%)")
    entries = [METHOD_STYLES[method] for method in methods]
    _legend(figure, entries, {name: colors[name] for name in originals})
    return figure


def _line(panel: Axes, rows: pd.DataFrame, column: str, options: dict[str, Any]) -> None:
    rows = rows.dropna(subset=[column]).sort_values("position")
    values = rows[column].to_numpy(dtype=float)
    errors = None
    if f"{column}_low" in rows:
        ends = rows[[f"{column}_low", f"{column}_high"]].to_numpy(dtype=float)
        errors = np.abs(ends.T - values)
    panel.errorbar(
        rows["position"].to_numpy(dtype=float),
        values,
        errors,
        markersize=style.MARKER_SIZE,
        linewidth=1.2,
        elinewidth=0.9,
        **options,
    )


def _logarithmic(panel: Axes) -> None:
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    if high > DECADES_RANGE * low:
        panel.yaxis.set_major_locator(LogLocator())
    else:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _bits_axis(panel: Axes, bits: list[int]) -> None:
    panel.set(xlabel="Bits per weight", xlim=(-0.4, len(bits) - 0.6))
    panel.set_xticks(range(len(bits)), list(map(str, bits)))
    panel.grid(axis="y")


def _legend(figure: Figure, entries: list[dict[str, Any]], colors: style.Colors) -> None:
    ink: dict[str, Any] = {"color": style.INK, "markersize": style.MARKER_SIZE}
    handles = [Line2D([], [], **(ink | options)) for options in entries]
    if len(colors) > 1:
        handles += [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
