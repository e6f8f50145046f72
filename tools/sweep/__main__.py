"""Run a sweep of DVC experiments: a grid of parameters, or a search for good ones.

Reads ``conf/sweep/NAME.yaml``. Each trial is the DVC experiment ``NAME-NUMBER`` of the current
commit, run in a folder of its own. Writes into ``reports/sweeps/NAME/`` after every trial:

- ``trials.csv``: every trial with its parameters, score and error,
- ``score.svg`` and ``score.png``: the score by trial and by each parameter.

A sweep that was killed resumes: saved trials are not run again, failed ones are.
Exit status 3 says that a trial failed.

    python -m tools.sweep NAME
"""

import signal
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import SWEEP_REPORTS
from stages.lib.figures import style
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.experiments import head_commit
from tools.sweep.figure import draw_sweep
from tools.sweep.search import next_point
from tools.sweep.spec import Sweep, Values, load_sweep
from tools.sweep.trials import run_trial, saved_point, score_of

FAILED = 3


def main(name: str) -> None:
    """Run every trial that is not saved yet, and report on all."""
    sweep, commit = load_sweep(name), head_commit()
    points = sweep.points()
    history: list[tuple[Values, float | None]] = []
    rows: list[dict[str, Any]] = []
    with console.progress_bar(total=sweep.n_trials, desc=f"sweep {name}", unit="trial") as progress:
        # In order, saved ones too: a point of a search depends on all trials before it.
        for number in range(sweep.n_trials):
            experiment = f"{name}-{number:02d}"
            saved, score, error = saved_point(experiment, commit, sweep), None, ""
            values = saved or (next_point(sweep, history) if sweep.trials else points[number])
            if saved is None:
                error = run_trial(experiment, commit, sweep, values)
            if not error:
                score = score_of(experiment, commit, sweep.score)
                if not isfinite(score):
                    score, error = None, "the score is not finite"
            if error:
                console.log_line(f"{experiment} failed: {error}")
            history.append((values, score))
            cells = {path: _cell(value) for path, value in values.items()}
            rows.append({"trial": number, "experiment": experiment, **cells})
            rows[-1] |= {"score": score, "error": error}
            write_report(name, sweep, rows)
            progress.update()
    console.log_line(f"{name}: {summary(rows, sweep)}")
    if any(row["error"] for row in rows):
        sys.exit(FAILED)


def write_report(name: str, sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table and the figure of the trials so far."""
    folder, table = SWEEP_REPORTS / name, pd.DataFrame(rows)
    with atomic_replace(folder / "trials.csv") as tmp:
        table.to_csv(tmp, index=False, lineterminator="\n")
    if any(row["score"] is not None for row in rows):
        settings = load_params().figures
        figure = draw_sweep(table, sweep, settings.palette, settings.width_in)
        style.save(figure, folder / "score", dpi=settings.dpi)


def summary(rows: Sequence[Mapping[str, Any]], sweep: Sweep) -> str:
    """Return how many trials are done and which is best."""
    done = [row for row in rows if not row["error"]]
    text = f"{len(done)} trials done, {len(rows) - len(done)} failed"
    if not done:
        return text
    choose = max if sweep.score.direction == "maximize" else min
    best = choose(done, key=lambda row: row["score"])
    point = ", ".join(f"{path}={best[path]}" for path in sweep.paths)
    return f"{text}; best is {best['experiment']} with {best['score']:.4g} at {point}"


def _cell(value: Any) -> int | float | str:
    """Return a value as a table shows it: all but numbers as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return value if isinstance(value, int | float) else str(value)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="a file of conf/sweep/, without its ending")


if __name__ == "__main__":
    # A SIGTERM ends the running trial too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.run_stage("sweep", main, add_arguments=_arguments, timed=False)
