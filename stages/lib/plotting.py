"""The figures of the paper: tables in, a matplotlib ``Figure`` out.

Shares in the tables are between 0 and 1; axes show percent. A dot is an estimate, its bar
the interval that the table gives. An arm has its colour of ``colors`` in every figure.
The same tables give the same bytes.
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
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

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
ENDS = [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100]  # percent, where an axis may end
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


@rc_context(STYLE)
def difficulty(table: pd.DataFrame, sources: Sequence[str], width_in: float) -> Figure:
    """Draw the pass rate and the difficulty levels of each source, in the given order.

    ``table`` has a row per problem: ``source``, ``posterior_mean``, ``low``, ``high`` and
    ``level``. A dot is the mean over a source's problems, its bar the mean of their
    posterior intervals: what is known of one problem.
    """
    figure, (rates, levels) = _panels(2, width_in, _height(len(sources), 0.19))
    bounds = ["posterior_mean", "low", "high"]
    means = table.pivot_table(index="source", values=bounds, aggfunc="mean").reset_index()
    _dots(rates, means.assign(of=""), "posterior_mean", ("source", sources), ("of", {"": INK}))
    _percent_axis(rates, "Pass rate of the base model (%)")

    shares = 100 * pd.crosstab(table["source"], table["level"], normalize="index")
    shares = shares.loc[list(sources)]
    shades = sns.color_palette("YlGnBu", len(shares.columns) + 1)[1:]
    left = 0 * shares.iloc[:, 0]
    names = [f"{level:g}" for level in shares.columns]
    names[0] = f"level {names[0]}"
    for (_, share), name, shade in zip(shares.items(), names, shades, strict=True):
        levels.barh(range(len(sources)), share, 0.8, left, color=shade, label=name)
        left = left + share
    levels.set(xlabel="Problems at each level (%)", xlim=(0, 100))
    levels.set_ylim(len(sources) - 0.5, -0.5)
    levels.tick_params(axis="y", length=0)
    _legend_above(levels, *levels.get_legend_handles_labels())
    return figure


@rc_context(STYLE)
def training(table: pd.DataFrame, colors: Colors, width_in: float) -> Figure:
    """Draw loss and learning rate against the step.

    ``table`` has ``arm``, ``step``, ``loss`` (nats per supervised token) and
    ``learning_rate``, which has one colour: it is the same in every arm.
    """
    figure = Figure(figsize=(width_in, 3.2), layout="constrained")
    loss, rate = figure.subplots(2, sharex=True, height_ratios=[2.2, 1])
    sns.lineplot(table, x="step", y="loss", hue="arm", style="arm", palette=dict(colors), ax=loss)
    loss.set_ylabel("Loss (nats per token)")
    loss.legend()
    apart: dict[str, Any] = {"units": "arm", "estimator": None}
    sns.lineplot(table, x="step", y="learning_rate", color=INK, ax=rate, **apart)
    rate.set(xlabel="Optimizer step", ylabel="Learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for panel in (loss, rate):
        panel.grid(axis="y")
        sns.despine(ax=panel)
    figure.align_ylabels()
    return figure


@rc_context(STYLE)
def accuracy(
    table: pd.DataFrame,
    benchmarks: Sequence[str],
    systems: Sequence[str],
    colors: Colors,
    width_in: float,
) -> Figure:
    """Draw the accuracy of every system on every benchmark, with each decoding.

    ``table`` has ``benchmark``, ``system``, ``decoding``, ``n``, ``accuracy``, ``low`` and
    ``high``; ``colors`` has those of ``DECODINGS`` to draw. Each benchmark has a scale of its
    own, as values near the floor could not be told apart on a full one; its axis says so.
    """
    figure, panels = _panels(len(benchmarks), width_in, _height(len(systems), 0.36))
    for panel, benchmark in zip(panels, benchmarks, strict=True):
        part = _part(table, "benchmark", [benchmark])
        part = _part(part, "decoding", list(colors))
        _dots(panel, part, "accuracy", ("system", systems), ("decoding", colors))
        panel.set_title(f"{benchmark} ($n$ = {part['n'].max()})")
        end = min(end for end in ENDS if end >= 100 * max(part["high"]))
        _percent_axis(panel, f"Accuracy (%, 0–{end})", end)
    handles = _handles({DECODINGS[name]: color for name, color in colors.items()})
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@rc_context(STYLE)
def topics(
    table: pd.DataFrame, families: Sequence[Sequence[str]], colors: Colors, width_in: float
) -> Figure:
    """Draw accuracy by topic: a panel per family, an original and what was made of it.

    ``table`` has ``system``, ``topic``, ``n``, ``accuracy``, ``low`` and ``high``. Topics
    go down from the one that the first original solves best, with their numbers of
    problems. ``colors`` has the originals; what was made of them is darker.
    """
    first = _part(table, "system", families[0][:1])
    first = first.sort_values(["accuracy", "topic"], ascending=[False, True])
    order = first["topic"].tolist()
    figure, panels = _panels(len(families), width_in, _height(len(order), 0.24))
    for panel, family in zip(panels, families, strict=True):
        shades = sns.dark_palette(colors[family[0]], len(family) + 1, reverse=True)[:-1]
        shown = dict(zip(family, shades, strict=True))
        part = _part(table, "system", family)
        _dots(panel, part, "accuracy", ("topic", order), ("system", shown))
        _percent_axis(panel, "Accuracy (%)")
        _legend_above(panel, _handles(shown), list(shown))
        numbered = zip(order, first["n"], strict=True)
        panel.set_yticks(range(len(order)), [f"{topic} ({n})" for topic, n in numbered])
    return figure


@rc_context(STYLE)
def width(table: pd.DataFrame, colors: Colors, width_in: float) -> Figure:
    """Draw size, speed and perplexity against the bits of a weight.

    ``table`` has a row per model: ``family`` (its original's name), ``bits``, ``bytes``,
    ``perplexity``, ``tokens_per_second`` (at full batch) and ``tokens_per_second_single``
    (at batch 1).
    """
    figure, (size, speed, perplexity) = _panels(3, width_in, 2.3, sharey=False)
    shown = {name: colors[name] for name in table["family"].unique()}
    full: dict[str, Any] = {
        "marker": "o",
        "linestyle": "-",
        "markersize": MARKER_SIZE,
        "linewidth": 1.3,
    }
    single: dict[str, Any] = full | {"marker": "D", "linestyle": "--"}
    _lines(size, table.assign(megabytes=table["bytes"] / 1e6), "megabytes", shown, full)
    _lines(speed, table, "tokens_per_second", shown, full)
    _lines(speed, table, "tokens_per_second_single", shown, single)
    _lines(perplexity, table, "perplexity", shown, full)
    size.set(ylabel="Weights (MB)", ylim=(0, None))
    speed.set(ylabel="Speed (tokens/s)", yscale="log")
    speed.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    speed.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    speed.yaxis.set_minor_locator(NullLocator())
    speed.grid(axis="y")
    batches = [Line2D([], [], color=INK, **look) for look in (full, single)]
    speed.legend(batches, ["full batch", "batch 1"])
    perplexity.set_ylabel("Perplexity")
    families = [Line2D([], [], color=color, label=name, **full) for name, color in shown.items()]
    figure.legend(handles=families, loc="outside upper center", ncols=len(families))
    return figure


@rc_context(STYLE)
def sources(
    table: pd.DataFrame,
    order: Sequence[str],
    reference: str,
    arms: Sequence[str],
    colors: Colors,
    width_in: float,
) -> Figure:
    """Draw accuracy by source: a panel per arm, beside the reference in grey.

    ``table`` has ``system``, ``source``, ``accuracy``, ``low`` and ``high``.
    """
    figure, panels = _panels(len(arms), width_in, _height(len(order), 0.24))
    for panel, arm in zip(panels, arms, strict=True):
        shown = {reference: GREY, arm: colors[arm]}
        part = _part(table, "system", list(shown))
        _dots(panel, part, "accuracy", ("source", order), ("system", shown))
        _percent_axis(panel, "Accuracy (%)")
        panel.set_title(arm)
    figure.legend(handles=_handles({reference: GREY}), loc="outside upper center")
    return figure


def _height(rows: int, row_in: float) -> float:
    return 0.9 + rows * row_in


def _panels(
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


def _dots(
    panel: Axes,
    table: pd.DataFrame,
    estimate: str,
    rows: tuple[str, Sequence[str]],
    hues: tuple[str, Colors],
) -> None:
    """Draw an estimate and its interval, in percent, per row and, beside each other, hue."""
    (row, order), (hue, colors) = rows, hues
    table = _part(table, row, order)
    # Of an estimate and the two ends of its interval, the estimate is the median.
    ends = table.melt(id_vars=[row, hue], value_vars=[estimate, "low", "high"])
    look: dict[str, Any] = {
        "order": list(order),
        "hue_order": list(colors),
        "palette": dict(colors),
        "dodge": 0.27 * (len(colors) - 1),
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


def _lines(
    panel: Axes, table: pd.DataFrame, value: str, colors: Colors, look: dict[str, Any]
) -> None:
    """Draw a line per family over the bits, from many to few."""
    sns.pointplot(
        table,
        x="bits",
        y=value,
        order=sorted(set(table["bits"]), reverse=True),
        hue="family",
        hue_order=list(colors),
        palette=dict(colors),
        errorbar=None,
        legend=False,
        ax=panel,
        **look,
    )
    panel.set_xlabel("Bits per weight")
    panel.grid(axis="y")


def _percent_axis(panel: Axes, label: str, end: float = 100) -> None:
    """Show 0 to ``end`` percent, with room for a dot at either end."""
    panel.set(xlabel=label, xlim=(-0.045 * end, 1.045 * end))
    panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _handles(colors: Colors) -> list[Line2D]:
    look: dict[str, Any] = {"linestyle": "none", "markersize": MARKER_SIZE}
    return [
        Line2D([], [], color=color, marker=marker, label=name, **look)
        for marker, (name, color) in zip(MARKERS, colors.items(), strict=False)
    ]


def _legend_above(panel: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
    panel.legend(handles, labels, ncols=len(labels), **place)


def _part(table: pd.DataFrame, column: str, values: Sequence[str]) -> pd.DataFrame:
    missing = [value for value in values if value not in set(table[column])]
    if missing:
        raise ValueError(f"{column}: {missing[0]!r}: expected in the table")
    return table.loc[table[column].isin(values)]
