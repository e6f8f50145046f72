"""The figures of a study: the endpoints with the difference in every run, and the dose curve."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.lib.figures import style
from tools.study.endpoints import ArmSummary, Endpoint

RUNS_BELOW, BOUND_HALF = 0.28, 0.4
"""How far below its row the runs of an endpoint lie, and half the length of its bound's line."""


@rc_context(style.STYLE)
def draw_forest(
    endpoints: Sequence[Endpoint],
    summaries: Sequence[ArmSummary],
    *,
    level: float,
    color: style.Color,
    width_in: float,
) -> Figure:
    """Draw a row per endpoint: a diamond with its interval, below it a dot for every run.

    A dashed line is the bound that the interval, of probability ``level``, has to stay above.
    """
    by_run = {(item.system, item.stratum): np.array(item.by_run) for item in summaries}
    figure = Figure(figsize=(width_in, 0.75 + 0.5 * len(endpoints)), layout="constrained")
    panel = figure.subplots()
    for row, item in enumerate(endpoints):
        runs = by_run[item.first, item.stratum] - by_run[item.second, item.stratum]
        panel.plot(
            100 * runs,
            np.full(len(runs), row + RUNS_BELOW),
            "o",
            color=style.GREY,
            alpha=0.6,
            markersize=3.5,
            markeredgewidth=0,
        )
        result = item.comparison
        panel.plot([100 * result.low, 100 * result.high], [row, row], color=color, linewidth=1.4)
        panel.plot(100 * result.difference, row, "D", color=color, markersize=5)
        panel.plot(
            [100 * item.bound] * 2,
            [row - BOUND_HALF, row + BOUND_HALF],
            color=style.INK,
            linewidth=0.9,
            linestyle="--",
        )
    labels = [f"{item.first} − {item.second}, {item.stratum} cells" for item in endpoints]
    panel.set_yticks(range(len(endpoints)), labels)
    panel.set_ylim(len(endpoints) - 0.5, -0.5)
    panel.set_xlabel("Difference of accuracy (points)")
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    figure.legend(handles=_handles(color, level), loc="outside upper center", ncols=3)
    return figure


@rc_context(style.STYLE)
def draw_dose(
    rows: Sequence[Mapping[str, Any]], colors: style.Colors, *, width_in: float
) -> Figure:
    """Draw accuracy on hard cells by supervised tokens, and the difference with its interval.

    ``rows`` are those of the dose curve, ``colors`` has the candidate before the baseline.
    """
    hard = [row for row in rows if row["stratum"] == "hard"]
    tokens = np.array([row["tokens"] for row in hard])
    figure = Figure(figsize=(width_in, 2.6), layout="constrained")
    accuracy, difference = figure.subplots(1, 2)
    for marker, (name, color) in zip(style.MARKERS, colors.items(), strict=False):
        means = [100 * row[name] for row in hard]
        accuracy.plot(tokens, means, marker=marker, markersize=4, color=color, label=name)
        for row in hard:
            runs = [100 * float(value) for value in row[f"{name}_runs"].split()]
            accuracy.plot(
                [row["tokens"]] * len(runs), runs, marker, color=color, alpha=0.3, markersize=3
            )
    accuracy.set(ylabel="Accuracy on hard cells (%)", ylim=(0, None))
    accuracy.legend()
    first, second = colors
    low, middle, high = (
        np.array([100 * row[key] for row in hard]) for key in ("low", "difference", "high")
    )
    difference.axhline(0, color=style.INK, linewidth=0.9, linestyle="--")
    difference.errorbar(
        tokens, middle, [middle - low, high - middle], fmt="D", color=colors[first], markersize=4
    )
    difference.set_ylabel(f"{first} − {second} (points)")
    for panel in (accuracy, difference):
        panel.set(xlabel="Supervised tokens", xscale="log")
        panel.set_xticks(tokens, [f"{count / 1000:.0f}k" for count in tokens])
        panel.set_xticks([], minor=True)
        panel.grid(axis="y")
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure


def _handles(color: style.Color, level: float) -> list[Line2D]:
    return [
        Line2D([], [], color=color, marker="D", markersize=5, label=f"{level:.0%} interval"),
        Line2D(
            [], [], color=style.GREY, marker="o", markersize=3.5, linestyle="none", label="one run"
        ),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle="--", label="has to stay above"),
    ]
