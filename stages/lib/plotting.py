"""The figures of the paper: tables in, a matplotlib ``Figure`` out.

Shares in the tables are between 0 and 1; axes show percent. A dot is an estimate, its bar
the interval that the table gives. ``colors`` maps every name that is drawn in colour, so
that a model looks the same in all figures. The same table gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

Color = tuple[float, float, float]
Colors = Mapping[str, Color]

DECODINGS = {"cot": "CoT", "pot": "PoT", "fallback": "PoT‖CoT"}
HEADLINE = "fallback"

# Seaborn asks pyplot for some things; without a screen only this backend always works.
matplotlib.use("Agg")

GRID, INK = "0.9", "0.15"
STYLE = sns.axes_style("ticks") | {
    # The one font that matplotlib carries, so that every machine has the same.
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.edgecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "svg.fonttype": "path",
    "svg.hashsalt": "uphill",
}
MARKERS = ["o", "D", "s", "^", "v", "P", "X"]
ENDS = [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100]


def palette(name: str, drawn: Sequence[str]) -> dict[str, Color]:
    """Return a colour per name, in order. Raises ValueError for an unknown palette."""
    try:
        return dict(zip(drawn, sns.color_palette(name, len(drawn)), strict=True))
    except ValueError as error:
        raise ValueError(f"figures.palette: {name!r}: expected one that seaborn has") from error


def save(figure: Figure, stem: Path, *, dpi: int) -> None:
    """Write ``stem.svg``, with its text as outlines, and ``stem.png``, without dates."""
    with rc_context(STYLE):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None}, dpi=dpi)


@rc_context(STYLE)
def difficulty(table: pd.DataFrame, sources: Sequence[str], width_in: float) -> Figure:
    """Draw the pass rate and the difficulty levels of each source.

    ``table`` has a row per problem: ``source``, ``posterior_mean``, ``low``, ``high`` and
    ``level``. A dot is the mean over a source's problems, its bar the mean of their
    posterior intervals: what is known of one problem.
    """
    figure, (rates, levels) = _panels(width_in, 0.2 * len(sources) + 0.95, columns=2, sharey=True)
    means = table.groupby("source")[["posterior_mean", "low", "high"]].mean().reset_index()
    (ink,) = sns.color_palette([INK])
    _dots(rates, means, "posterior_mean", rows=("source", sources), hues=("", {"": ink}))
    rates.set(xlim=(-2, 102), xlabel="Pass rate of the base model (%)")

    steps = sorted(table["level"].unique())
    shades = sns.color_palette("blend:#f0f0e8,#56b4e9,#0b2a4a", len(steps))
    shares = pd.crosstab(table["source"], table["level"], normalize="index").loc[list(sources)]
    left = pd.Series(0.0, index=shares.index)
    for step, shade in zip(steps, shades, strict=True):
        levels.barh(
            shares.index,
            100 * shares[step],
            left=left,
            height=0.78,
            color=shade,
            edgecolor="white",
            linewidth=0.4,
            label=f"{step:g}",
        )
        left += 100 * shares[step]
    levels.set(xlim=(0, 100), xlabel="Problems of each level (%)")
    levels.tick_params(axis="y", length=0)
    sns.despine(levels, left=True)
    _legend_above(figure, levels, title="level")
    return figure


@rc_context(STYLE)
def training(table: pd.DataFrame, colors: Colors, width_in: float) -> Figure:
    """Draw loss and learning rate against the step.

    ``table`` has ``arm``, ``step``, ``loss`` (nats per supervised token) and
    ``learning_rate``, which is drawn in one colour: it is the same in every arm.
    """
    figure, (loss, rate) = _panels(
        width_in, 3.2, rows=2, sharex=True, gridspec_kw={"height_ratios": [2.2, 1]}
    )
    drawn = [name for name in colors if name in set(table["arm"])]
    sns.lineplot(
        table, x="step", y="loss", hue="arm", style="arm", hue_order=drawn, style_order=drawn,
        palette={name: colors[name] for name in drawn}, ax=loss,
    )  # fmt: skip
    loss.set_ylabel("Loss (nats per token)")
    loss.legend(title=None)
    sns.lineplot(
        table, x="step", y="learning_rate", units="arm", estimator=None, color=INK, ax=rate
    )
    rate.set(xlabel="Optimizer step", ylabel="Learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in (loss, rate):
        panel.grid(axis="y")
    figure.align_ylabels()
    return figure


@rc_context(STYLE)
def accuracy(
    table: pd.DataFrame, benchmarks: Sequence[str], systems: Sequence[str], colors: Colors,
    width_in: float,
) -> Figure:  # fmt: skip
    """Draw the accuracy of every system on every benchmark, with each decoding.

    ``table`` has ``benchmark``, ``system``, ``decoding``, ``n``, ``accuracy``, ``low`` and
    ``high``; ``colors`` has the names of ``DECODINGS``. Each benchmark has a scale of its
    own, which its axis says.
    """
    figure, panels = _panels(
        width_in, 0.36 * len(systems) + 1.0, columns=len(benchmarks), sharey=True
    )
    for panel, benchmark in zip(panels, benchmarks, strict=True):
        part = _part(table, benchmark=benchmark)
        part = part.assign(decoding=part["decoding"].map(DECODINGS)).dropna(subset=["decoding"])
        _dots(panel, part, "accuracy", rows=("system", systems), hues=("decoding", colors))
        panel.set_title(f"{benchmark} ($n$ = {part['n'].iloc[0]})")
        _percent_axis(panel, part["high"].max())
    _legend_above(figure, panels[0])
    return figure


@rc_context(STYLE)
def topics(
    table: pd.DataFrame, families: Sequence[Sequence[str]], colors: Colors, width_in: float
) -> Figure:
    """Draw accuracy by topic: a panel per family, an original and what was made of it.

    ``table`` has ``system``, ``topic``, ``n``, ``accuracy``, ``low`` and ``high``. Topics
    go down from the one that the first original solves best.
    """
    first = _part(table, system=families[0][0])
    order = first.sort_values(["accuracy", "topic"], ascending=[False, True])["topic"].tolist()
    counts = first.set_index("topic")["n"]
    figure, panels = _panels(
        width_in, 0.26 * len(order) + 0.95, columns=len(families), sharey=True
    )
    for panel, family in zip(panels, families, strict=True):
        members = {name: colors[name] for name in family}
        part = pd.concat([_part(table, system=name) for name in family])
        _dots(panel, part, "accuracy", rows=("topic", order), hues=("system", members))
        panel.set_yticks(range(len(order)), [f"{topic} ({counts[topic]})" for topic in order])
        panel.set(xlim=(-2, 102), xlabel="Accuracy (%)")
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(family))
    return figure


@rc_context(STYLE)
def width(table: pd.DataFrame, colors: Colors, width_in: float) -> Figure:
    """Draw size, speed and perplexity against the bits of a weight.

    ``table`` has a row per model: ``family`` (its original's name), ``bits``, ``bytes``,
    ``perplexity``, ``tokens_per_second`` and ``tokens_per_second_single``.
    """
    figure, (size, speed, perplexity) = _panels(width_in, 2.2, columns=3)
    order = sorted(table["bits"].unique(), reverse=True)
    drawn = list(dict.fromkeys(table["family"]))
    look: dict[str, Any] = {
        "x": "bits", "order": order, "hue": "family", "hue_order": drawn,
        "palette": {name: colors[name] for name in drawn}, "errorbar": None,
        "markersize": 5, "linewidth": 1.3,
    }  # fmt: skip
    sns.pointplot(table.assign(mb=table["bytes"] / 1e6), y="mb", ax=size, **look)
    size.set(ylabel="Size of the weights (MB)", ylim=(0, None))
    sns.pointplot(table, y="tokens_per_second", ax=speed, marker="o", **look)
    sns.pointplot(table, y="tokens_per_second_single", ax=speed, marker="D", linestyle="--", **look)
    speed.set(ylabel="Speed (tokens/s)", yscale="log")
    sns.pointplot(table, y="perplexity", ax=perplexity, **look)
    perplexity.set(ylabel="Perplexity")
    for panel in (size, speed, perplexity):
        panel.set(xlabel="Bits per weight")
        panel.margins(x=0.25)
        panel.grid(axis="y")
        panel.get_legend().remove()
    return figure


@rc_context(STYLE)
def sources(
    table: pd.DataFrame, order: Sequence[str], reference: str, arms: Sequence[str],
    colors: Colors, width_in: float,
) -> Figure:  # fmt: skip
    """Draw accuracy by source: a panel per arm, beside the reference.

    ``table`` has ``system``, ``source``, ``n``, ``accuracy``, ``low`` and ``high``.
    """
    figure, panels = _panels(width_in, 0.22 * len(order) + 0.95, columns=len(arms), sharey=True)
    for panel, arm in zip(panels, arms, strict=True):
        pair = {name: colors[name] for name in (reference, arm)}
        part = pd.concat([_part(table, system=name) for name in pair])
        _dots(panel, part, "accuracy", rows=("source", order), hues=("system", pair))
        panel.set(xlim=(-2, 102), xlabel="Accuracy (%)")
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1)
    return figure


def _panels(
    width_in: float, height_in: float, *, rows: int = 1, columns: int = 1, **shared: Any
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel().tolist()
    for panel in panels:
        sns.despine(ax=panel)
    return figure, panels


def _dots(
    panel: Axes,
    table: pd.DataFrame,
    estimate: str,
    *,
    rows: tuple[str, Sequence[str]],
    hues: tuple[str, Colors],
) -> None:
    """Draw an estimate and its interval per row and hue, side by side within a row."""
    (row, order), (hue, colors) = rows, hues
    missing = [name for name in order if name not in set(table[row])]
    if missing:
        raise ValueError(f"{row}: {missing[0]!r}: expected in the table")
    # Of an estimate and the ends of its interval, the median is the estimate.
    ends = table.melt(id_vars=[row, hue] if hue else [row], value_vars=[estimate, "low", "high"])
    sns.pointplot(
        ends.assign(percent=100 * ends["value"], **({} if hue else {"": ""})),
        x="percent",
        y=row,
        order=list(order),
        hue=hue,
        hue_order=list(colors),
        palette=dict(colors),
        estimator="median",
        errorbar=("pi", 100),
        dodge=0.22 * (len(colors) - 1) if len(colors) > 1 else False,
        linestyle="none",
        markers=MARKERS[: len(colors)],
        markersize=4.2,
        err_kws={"linewidth": 1.1},
        ax=panel,
    )
    panel.set_ylabel("")
    panel.grid(axis="x")
    panel.tick_params(axis="y", length=0)


def _part(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    part = table
    for column, value in wanted.items():
        part = part[part[column] == value]
        if part.empty:
            raise ValueError(f"{column}: {value!r}: expected in the table")
    return part
