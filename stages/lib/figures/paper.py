"""The figures of the paper: tables in, a matplotlib ``Figure`` out.

Shares in the tables are between 0 and 1; axes show percent. A dot is an estimate, its bar
the interval in the table. An arm has the same color, from ``colors``, in every figure.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.figures import style

# Percentages at which an axis may end.
AXIS_ENDS = [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100]

# Columns of the difficulty of problems that are drawn.
DIFFICULTY_COLUMNS = ("source", "posterior_mean", "low", "high", "level")

# Columns of the log of a GRPO run, with the labels of their axes.
GRPO_LABELS = {
    "reward": "Reward",
    "kl": "Divergence from the\nparent (nats per token)",
    "answer_tokens": "Tokens per answer",
    "groups_without_signal": "Share of groups\nwithout signal",
}
SMOOTHING_STEPS = 5


@rc_context(style.STYLE)
def difficulty(table: pd.DataFrame, sources: Sequence[str], width_in: float) -> Figure:
    """Draw the pass rate and the difficulty levels of each source, in the given order.

    ``table`` has a row per problem and the columns ``DIFFICULTY_COLUMNS``. A dot is the mean
    over a source's problems, its bar the mean of the posterior intervals of single problems.
    """
    figure, (rates, levels) = style.panels(2, width_in, style.figure_height(len(sources), 0.19))
    bounds = ["posterior_mean", "low", "high"]
    single_hue = ("hue", {"": style.INK})
    means = table.pivot_table(index="source", values=bounds, aggfunc="mean").reset_index()
    means = means.assign(hue="")
    style.draw_dots(rates, means, "posterior_mean", ("source", sources), single_hue)
    style.percent_axis(rates, "Pass rate (%)")

    shares = 100 * pd.crosstab(table["source"], table["level"], normalize="index")
    shares = shares.loc[list(sources)]
    shades = sns.color_palette("YlGnBu", len(shares.columns) + 1)[1:]
    # Stacked bars: each level begins where the one before ends.
    left = 0 * shares.iloc[:, 0]
    names = [f"{level:g}" for level in shares.columns]
    names[0] = f"level {names[0]}"
    for (_, share), name, shade in zip(shares.items(), names, shades, strict=True):
        levels.barh(range(len(sources)), share, 0.8, left, color=shade, label=name)
        left = left + share
    levels.set(xlabel="Problems at each level (%)", xlim=(0, 100))
    levels.set_ylim(len(sources) - 0.5, -0.5)
    levels.tick_params(axis="y", length=0)
    style.legend_above(levels, *levels.get_legend_handles_labels())
    return figure


@rc_context(style.STYLE)
def training(table: pd.DataFrame, colors: style.Colors, width_in: float) -> Figure:
    """Draw loss and learning rate against the step.

    ``table`` has ``arm``, ``step``, ``loss`` (nats per supervised token) and
    ``learning_rate``, which is drawn in one color, as it is the same in every arm.
    """
    figure = Figure(figsize=(width_in, 3.2), layout="constrained")
    loss, rate = figure.subplots(2, sharex=True, height_ratios=[2.2, 1])
    sns.lineplot(table, x="step", y="loss", hue="arm", style="arm", palette=dict(colors), ax=loss)
    loss.set_ylabel("Loss (nats per token)")
    loss.legend()
    # A line per arm instead of their mean.
    units: dict[str, Any] = {"units": "arm", "estimator": None}
    sns.lineplot(table, x="step", y="learning_rate", color=style.INK, ax=rate, **units)
    rate.set(xlabel="Optimizer step", ylabel="Learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for panel in (loss, rate):
        panel.grid(axis="y")
        sns.despine(ax=panel)
    figure.align_ylabels()
    return figure


@rc_context(style.STYLE)
def grpo(table: pd.DataFrame, colors: style.Colors, width_in: float) -> Figure:
    """Draw each metric of ``GRPO_LABELS`` by step, and its mean over ``SMOOTHING_STEPS``.

    ``table`` has ``model``, ``step`` and columns of ``GRPO_LABELS``, empty where a step had no
    answers of its own. Runs without a weight of the divergence have no ``kl``.
    """
    figure = Figure(figsize=(width_in, 3.8), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).ravel()
    options: dict[str, Any] = {"x": "step", "hue": "model", "palette": dict(colors)}
    options |= {"legend": False}
    labels = {column: label for column, label in GRPO_LABELS.items() if column in table}
    for panel in panels[len(labels) :]:
        panel.remove()
    for panel, (column, label) in zip(panels, labels.items(), strict=False):
        rows = table.dropna(subset=[column])
        means = rows.groupby("model")[column].transform(
            lambda values: values.rolling(SMOOTHING_STEPS, center=True, min_periods=1).mean()
        )
        sns.lineplot(rows, y=column, ax=panel, alpha=0.3, linewidth=0.8, **options)
        sns.lineplot(rows.assign(mean=means), y="mean", ax=panel, **options)
        panel.set(xlabel="Optimizer step", ylabel=label, ylim=(0, None))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        panel.grid(axis="y")
        sns.despine(ax=panel)
    figure.align_ylabels()
    lines = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=lines, loc="outside upper center", ncols=3)
    return figure


@rc_context(style.STYLE)
def accuracy(
    table: pd.DataFrame,
    benchmarks: Sequence[str],
    systems: Sequence[str],
    colors: style.Colors,
    width_in: float,
) -> Figure:
    """Draw the accuracy of every system on every benchmark, by answer mode.

    ``table`` has ``benchmark``, ``system``, ``answer_mode``, ``n``, ``accuracy``, ``low`` and
    ``high``; ``colors`` has the answer modes to draw. Each benchmark has its own scale, named
    on the axis, as values near the floor could not be distinguished on a full one.
    """
    height_in = style.figure_height(len(systems), 0.36)
    figure, panels = style.panels(len(benchmarks), width_in, height_in)
    for panel, benchmark in zip(panels, benchmarks, strict=True):
        part = style.select_rows(table, "benchmark", [benchmark])
        part = style.select_rows(part, "answer_mode", list(colors))
        style.draw_dots(panel, part, "accuracy", ("system", systems), ("answer_mode", colors))
        panel.set_title(f"{benchmark} ($n$ = {part['n'].max()})")
        end = _axis_end(part)
        scale = f", 0–{end}" if len(benchmarks) > 1 else ""
        style.percent_axis(panel, f"Accuracy (%{scale})", end)
    handles = style.handles({ANSWER_MODES[name]: color for name, color in colors.items()})
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@rc_context(style.STYLE)
def topics(
    table: pd.DataFrame, families: Sequence[Sequence[str]], colors: style.Colors, width_in: float
) -> Figure:
    """Draw accuracy by topic: a panel per family, an original and its quantized models.

    ``table`` has ``system``, ``topic``, ``n``, ``accuracy``, ``low`` and ``high``. Topics
    are sorted by the accuracy of the first original, the highest on top, with their numbers
    of problems. ``colors`` has the originals; their quantized models are darker.
    """
    first = style.select_rows(table, "system", families[0][:1])
    first = first.sort_values(["accuracy", "topic"], ascending=[False, True])
    order = first["topic"].tolist()
    # The more models in a family, the more dots stand one above the other in a row.
    row_in = max(0.24, 0.085 * max(map(len, families)))
    figure, panels = style.panels(len(families), width_in, style.figure_height(len(order), row_in))
    systems = [name for family in families for name in family]
    end = _axis_end(style.select_rows(table, "system", systems))
    for panel, family in zip(panels, families, strict=True):
        shades = sns.dark_palette(colors[family[0]], len(family) + 1, reverse=True)[:-1]
        hues = dict(zip(family, shades, strict=True))
        part = style.select_rows(table, "system", family)
        style.draw_dots(panel, part, "accuracy", ("topic", order), ("system", hues))
        style.percent_axis(panel, "Accuracy (%)", end)
        style.legend_above(panel, style.handles(hues), list(hues))
        numbered = zip(order, first["n"], strict=True)
        panel.set_yticks(range(len(order)), [f"{topic} ({n})" for topic, n in numbered])
    return figure


@rc_context(style.STYLE)
def sources(
    table: pd.DataFrame,
    order: Sequence[str],
    reference: str,
    arms: Sequence[str],
    colors: style.Colors,
    width_in: float,
) -> Figure:
    """Draw accuracy by source: a panel per arm, beside the reference in grey.

    ``table`` has ``system``, ``source``, ``accuracy``, ``low`` and ``high``.
    """
    figure, panels = style.panels(len(arms), width_in, style.figure_height(len(order), 0.24))
    for panel, arm in zip(panels, arms, strict=True):
        hues = {reference: style.GREY, arm: colors[arm]}
        part = style.select_rows(table, "system", list(hues))
        style.draw_dots(panel, part, "accuracy", ("source", order), ("system", hues))
        style.percent_axis(panel, "Accuracy (%)")
        panel.set_title(arm)
    figure.legend(handles=style.handles({reference: style.GREY}), loc="outside upper center")
    return figure


def _axis_end(table: pd.DataFrame) -> int:
    """Return the smallest axis end, in percent, that contains the table's intervals."""
    return min(end for end in AXIS_ENDS if end >= 100 * max(table["high"]))
