"""Figures of a sweep: a grid as lines, or the score by trial and by each parameter."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from stages.lib.figures import lines, style
from tools.sweep.results import SCORES, Scored, cell, score_label
from tools.sweep.spec import AccuracyScore, Choices, Grid, Parameter, Sweep

ROOM = 0.1
"""Room for dots beyond either end of a range, as a share of it."""
APART = 0.07
"""How far the points of one value stand apart, as a share of the way to the next value."""


def draw(
    table: pd.DataFrame, wanted: Sweep, baseline: Scored | None, palette: str, width_in: float
) -> Figure:
    """Draw a grid of two parameters as lines, and all else by trial and parameter.

    ``table`` is that of ``sweep_report.table``; trials without a score are left out.
    Accuracies are drawn as percent.
    """
    drawn = table.dropna(subset="score").reset_index(drop=True)
    scale = 100 if isinstance(wanted.score, AccuracyScore) else 1
    drawn = drawn.assign(**{name: scale * drawn[name] for name in SCORES})
    if isinstance(wanted, Grid) and len(wanted.parameters) == 2:
        return _grid(drawn, wanted, baseline, palette, width_in)
    return _by_parameter(drawn, wanted, palette, width_in)


@rc_context(style.STYLE)
def _grid(
    drawn: pd.DataFrame, wanted: Grid, baseline: Scored | None, palette: str, width_in: float
) -> Figure:
    """Draw the score by the last of two parameters, a line per value of the first."""
    by, along = wanted.parameters.values()
    figure = Figure(figsize=(width_in, 0.55 * width_in), layout="constrained")
    panel = figure.subplots()
    if baseline is not None:
        bounds = (baseline.score, baseline.low, baseline.high)
        lines.baseline(panel, *(100 * bound for bound in bounds))
    names = [f"{by.label} = {cell(value)}" for value in by.choices]
    colors = style.palette(palette, names)
    places = {cell(value): place for place, value in enumerate(along.choices)}
    for number, (value, name) in enumerate(zip(by.choices, names, strict=True)):
        rows = drawn.loc[drawn[by.label] == cell(value)]
        shift = APART * (number - (len(names) - 1) / 2)
        x = [places[along_value] + shift for along_value in rows[along.label]]
        lines.line(panel, rows.assign(x=x), name, colors[name])
    panel.set(xlabel=along.label, ylabel=score_label(wanted.score), xlim=(-0.4, len(places) - 0.6))
    panel.set_xticks(range(len(places)), [str(value) for value in places])
    panel.grid(axis="y")
    panel.spines[["top", "right"]].set_visible(False)
    entries = panel.get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[1]))
    return figure


@rc_context(style.STYLE)
def _by_parameter(drawn: pd.DataFrame, wanted: Sweep, palette: str, width_in: float) -> Figure:
    """Draw the score by trial, with the best so far, and by each parameter."""
    minimize = wanted.score.direction == "minimize"
    parameters = list(wanted.parameters.values())
    so_far = drawn["score"].cummin() if minimize else drawn["score"].cummax()
    scores = drawn["score"].tolist()
    best = scores.index(min(scores) if minimize else max(scores))
    color = style.palette(palette, ["trials", "best"])
    figure, panels = style.panels(1 + len(parameters), width_in, 2.1)
    panels[0].step(drawn["trial"], so_far, where="post", color=color["best"], label="best so far")
    panels[0].set_xlabel("trial")
    panels[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    places = [drawn["trial"].tolist()]
    for panel, one in zip(panels[1:], parameters, strict=True):
        places.append(_places(panel, one, drawn[one.label].tolist()))
    look: dict[str, Any] = {"markersize": style.MARKER_SIZE, "linestyle": "none"}
    for panel, place in zip(panels, places, strict=True):
        panel.plot(place, drawn["score"], "o", color=color["trials"], label="trials", **look)
        at, top = place[best], drawn["score"][best]
        panel.plot([at], [top], "o", color=color["best"], label="best", **look)
        panel.grid(axis="y")
    for panel in panels[:: style.ACROSS]:
        panel.set_ylabel(score_label(wanted.score))
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[1]))
    return figure


def _places(panel: Axes, one: Parameter, values: Sequence[Any]) -> list[float]:
    """Prepare the axis of a parameter; return where on it the values lie."""
    panel.set_xlabel(one.label)
    if isinstance(one, Choices):
        names = [cell(value) for value in one.choices]
        panel.set_xticks(range(len(names)), [str(_first(value)[1]) for value in one.choices])
        panel.set_xlabel(one.label + _first(one.choices[0])[0])
        panel.set_xlim(-0.5, len(names) - 0.5)
        return [names.index(value) for value in values]
    if one.log:
        panel.set_xscale("log")
        panel.xaxis.set_minor_locator(NullLocator())
        middle, room = sqrt(one.low * one.high), (one.high / one.low) ** ROOM
        panel.set_xlim(one.low / room, one.high * room)
    else:
        middle, room = (one.low + one.high) / 2, ROOM * (one.high - one.low)
        panel.set_xlim(one.low - room, one.high + room)
    ticks = [one.low, float(f"{middle:.1g}"), one.high]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    return list(values)


def _first(value: Any) -> tuple[str, Any]:
    """Return what stands for a choice on an axis: of a mapping, its first key and value."""
    if isinstance(value, dict):
        key, first = next(iter(value.items()))
        return f" ({key})", first
    return "", value
