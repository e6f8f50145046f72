"""Simulate the power of a study of several runs, and the half-widths of its intervals.

Simulates blocks of one run each of a candidate, a baseline, and a control as good as the baseline.
A problem is equally hard for all runs; each run moves the accuracy of each cell a little, since
training is not the same twice; answers are then drawn. The blocks are compared as those of a study
are (``tools.study.endpoints``): runs and problems crossed, one-sided at (1 - level) / 2.

    python -m tools.power --blocks 8 10 16 --gains 0 0.02 0.03 0.04
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lib.analysis.seeds import compare_runs


@dataclass(frozen=True)
class Stratum:
    """Cells of about the same accuracy, and what is assumed of them.

    ``accuracy`` is the baseline's mean; ``problem_sd`` and ``run_sd`` are the standard
    deviations, in shares, of a problem's rate within its cell and of a run's rate of a cell.
    """

    cells: int
    problems: int
    accuracy: float
    problem_sd: float
    run_sd: float


@dataclass(frozen=True)
class Power:
    """The mean half-width of an interval, and the share of studies where it lay above a bound.

    ``both_above`` is the share in which the candidate was above the bound over the baseline and
    over a control that is as good as the baseline.
    """

    half_width: float
    above: float
    both_above: float


def power(
    stratum: Stratum,
    *,
    gain: float,
    bound: float,
    blocks: int,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> Power:
    """Simulate ``draws`` studies in which the candidate's rates are higher by ``gain``."""
    cells = np.repeat(np.arange(stratum.cells), stratum.problems)
    widths: list[float] = []
    n_above = n_both = 0
    # Draws of its own for the control, so that it changes no other column.
    (control_rng,) = rng.spawn(1)
    for _ in range(draws):
        problems = rng.normal(stratum.accuracy, stratum.problem_sd, len(cells))
        candidate, baseline = (
            _answers(stratum, problems + shift, cells, blocks, rng) for shift in (gain, 0.0)
        )
        comparison = compare_runs(candidate, baseline, cells, level=level)
        widths.append((comparison.high - comparison.low) / 2)
        if comparison.low > bound:
            n_above += 1
            control = _answers(stratum, problems, cells, blocks, control_rng)
            n_both += compare_runs(candidate, control, cells, level=level).low > bound
    return Power(float(np.mean(widths)), n_above / draws, n_both / draws)


def _answers(
    stratum: Stratum,
    rates: NDArray[np.float64],
    cells: NDArray[np.int64],
    blocks: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw the answers of an arm, of shape (blocks, problems)."""
    moved = rng.normal(0, stratum.run_sd, (blocks, stratum.cells))[:, cells]
    return (rng.random((blocks, len(cells))) < rates + moved).astype(float)


def table(
    hard: Stratum,
    easy: Stratum,
    *,
    gains: Sequence[float],
    blocks: Sequence[int],
    margin: float,
    draws: int,
    level: float,
) -> list[str]:
    """Return the lines of a table: a row for each number of blocks and each true gain.

    ``both`` is the share of studies that meet the first two endpoints, without a true loss on
    easy cells; the two are simulated apart. ``all`` is the share that then also find the gain
    over the control, as a fixed sequence of tests asks.
    """
    lines = ["blocks  gain  half-width hard  half-width easy  gain found  no loss shown  both  all"]
    for count in blocks:
        rng = np.random.default_rng(count)
        options = {"blocks": count, "draws": draws, "level": level, "rng": rng}
        no_loss = power(easy, gain=0.0, bound=-margin, **options)
        for gain in gains:
            gained = power(hard, gain=gain, bound=0.0, **options)
            lines.append(
                f"{count:6}  {gain:.2f}  {gained.half_width:15.3f}  {no_loss.half_width:15.3f}  "
                f"{gained.above:10.2f}  {no_loss.above:13.2f}  "
                f"{gained.above * no_loss.above:.2f}  {gained.both_above * no_loss.above:.2f}"
            )
    return lines


def main() -> None:
    """Parse the assumptions and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.power",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--blocks", type=int, nargs="+", default=[8, 10, 16], help="runs of each arm")
    add("--gains", type=float, nargs="+", default=[0.0, 0.02, 0.03, 0.04], help="on hard cells")
    add("--hard-cells", type=int, default=12)
    add("--easy-cells", type=int, default=10)
    add("--problems", type=int, default=60, help="in each cell")
    add("--hard-accuracy", type=float, default=0.45)
    add("--easy-accuracy", type=float, default=0.95)
    add("--problem-sd", type=float, default=0.2, help="of a hard problem's rate; easy: a quarter")
    add("--run-sd", type=float, default=0.06, help="of a run's rate of a hard cell; easy: a third")
    add("--margin", type=float, default=0.015, help="of the loss on easy cells")
    add("--draws", type=int, default=400, help="simulated studies in each row")
    add("--level", type=float, default=0.95)
    values = parser.parse_args()
    _check(parser, values)
    hard = Stratum(
        values.hard_cells, values.problems, values.hard_accuracy, values.problem_sd, values.run_sd
    )
    # Near the ceiling, rates differ less between problems and between runs.
    easy = Stratum(
        values.easy_cells,
        values.problems,
        values.easy_accuracy,
        values.problem_sd / 4,
        values.run_sd / 3,
    )
    lines = table(
        hard,
        easy,
        gains=values.gains,
        blocks=values.blocks,
        margin=values.margin,
        draws=values.draws,
        level=values.level,
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _check(parser: argparse.ArgumentParser, values: argparse.Namespace) -> None:
    """End with a line that names the first argument that no study could have."""
    least = {"blocks": 3, "hard_cells": 1, "easy_cells": 1, "problems": 2, "draws": 1}
    for name, given in vars(values).items():
        low, high = (least[name], math.inf) if name in least else (0.0, 1.0)
        for value in given if isinstance(given, list) else [given]:
            if not low <= value <= high:
                expected = f"at least {low}" if name in least else "a share"
                parser.error(f"--{name.replace('_', '-')}: {value}: expected {expected}")


if __name__ == "__main__":
    main()
