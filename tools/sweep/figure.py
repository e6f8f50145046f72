"""The figure of a sweep: a grid as lines, anything else as dots by trial and parameter."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.figures import lines, style
from tools.sweep.results import Estimate, format_value
from tools.sweep.spec import AccuracyScore, MetricScore, Parameter, Sweep

OFFSET = 0.07
"""The distance between the points at one value, as a share of that to the next value."""


def draw_sweep(
    table: pd.DataFrame, sweep: Sweep, baseline: Estimate | None, palette: str, width_in: float
) -> Figure:
    """Draw the scores in the table of a sweep, accuracies in percent."""
    scored = table.dropna(subset="score").reset_index(drop=True)
    if isinstance(sweep.score, AccuracyScore):
        scored = scored.assign(**{name: 100 * scored[name] for name in Estimate._fields})
    with rc_context(style.STYLE):
        if sweep.method == "grid" and len(sweep.parameters) == 2:
            return _draw_grid(scored, sweep, baseline, palette, width_in)
        return _draw_panels(scored, sweep, palette, width_in)


def _draw_grid(
    table: pd.DataFrame, grid: Sweep, baseline: Estimate | None, palette: str, width_in: float
) -> Figure:
    """Draw the score by the second parameter, a line per value of the first."""
    first, second = grid.parameters.values()
    figure = Figure(figsize=(width_in, 0.55 * width_in), layout="constrained")
    panel = figure.subplots()
    if baseline is not None:
        lines.draw_baseline(panel, *(100 * bound for bound in baseline))
    x = _positions(panel, second, table[second.label].tolist())
    names = [f"{first.label} = {format_value(value)}" for value in first.examples]
    colors = style.palette(palette, names)
    for index, (value, name) in enumerate(zip(first.examples, names, strict=True)):
        # Offset lines slightly so that error bars do not overlap.
        offset = OFFSET * (index - (len(names) - 1) / 2)
        rows = table.assign(x=[position + offset for position in x])
        rows = rows.loc[rows[first.label] == format_value(value)]
        lines.draw_line(panel, rows, name, colors[name])
    panel.set_ylabel(_score_label(grid.score))
    panel.spines[["top", "right"]].set_visible(False)
    _finish(figure, [panel])
    return figure


def _draw_panels(table: pd.DataFrame, sweep: Sweep, palette: str, width_in: float) -> Figure:
    """Draw the score by trial and by each parameter, and mark the best."""
    scores = table["score"].tolist()
    # Drawn over the others in every panel, so that its values can be read together.
    best = scores.index(min(scores) if sweep.score.direction == "minimize" else max(scores))
    color = style.palette(palette, ["trials", "best"])
    figure, panels = style.panels(1 + len(sweep.parameters), width_in, 2.1)
    panels[0].set_xlabel("trial")
    panels[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    positions = [table["trial"].tolist()]
    for panel, parameter in zip(panels[1:], sweep.parameters.values(), strict=True):
        positions.append(_positions(panel, parameter, table[parameter.label].tolist()))
    marks: dict[str, Any] = {"markersize": style.MARKER_SIZE, "linestyle": "none"}
    for panel, x in zip(panels, positions, strict=True):
        panel.plot(x, scores, "o", color=color["trials"], label="trials", **marks)
        panel.plot([x[best]], [scores[best]], "o", color=color["best"], label="best", **marks)
    for panel in panels[:: style.MAX_COLUMNS]:
        panel.set_ylabel(_score_label(sweep.score))
    _finish(figure, panels)
    return figure


def _positions(panel: Axes, parameter: Parameter, values: Sequence[Any]) -> list[float]:
    """Label the x-axis of a parameter; return where on it the values lie."""
    panel.set_xlabel(parameter.label)
    if parameter.choices is None:
        panel.set_xscale("log" if parameter.log else "linear")
        return list(values)
    ticks = parameter.choices
    if isinstance(ticks[0], dict):
        # A mapping is too long for a tick: the value of its first key stands for it.
        key = next(iter(ticks[0]))
        panel.set_xlabel(f"{parameter.label} ({key})")
        ticks = [choice[key] for choice in ticks]
    panel.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    panel.set_xlim(-0.4, len(ticks) - 0.6)
    names = [format_value(choice) for choice in parameter.choices]
    return [names.index(value) for value in values]


def _finish(figure: Figure, panels: Sequence[Axes]) -> None:
    for panel in panels:
        panel.grid(axis="y")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[1]))


def _score_label(score: AccuracyScore | MetricScore) -> str:
    if isinstance(score, MetricScore):
        return score.key.rpartition(".")[2].replace("_", " ")
    answer_mode = ANSWER_MODES[score.answer_mode]
    return f"{score.benchmark}: accuracy of {score.system}, {answer_mode} (%)"
