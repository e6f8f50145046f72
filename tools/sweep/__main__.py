"""Run a sweep: a grid of parameters, or a search for good ones.

Reads ``conf/sweep/NAME.yaml``. Runs each trial in ``data/sweeps/NAME/``, a clone at one
commit, and saves it as the DVC experiment ``NAME-NUMBER``. Writes into
``reports/sweeps/NAME/`` after every trial:

- ``trials.csv``: every trial with its parameters, score, interval and error,
- ``score.svg`` and ``score.png``: the score by the parameters.

A sweep that was killed resumes: saved trials are not run again, failed ones are.
Exit status 3 says that a trial failed.

    python -m tools.sweep NAME
"""

import signal
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import SWEEP_REPORTS
from stages.lib.figures import style
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.sweep.figure import draw_sweep
from tools.sweep.results import Estimate, best_row, format_value, read_accuracy, read_score
from tools.sweep.search import next_point
from tools.sweep.spec import AccuracyScore, Sweep, Values, check_sweep, load_sweep
from tools.sweep.trials import Trials

FAILED = 3


def main(name: str) -> None:
    """Run every trial that is not saved yet, and report on all."""
    sweep = load_sweep(name)
    check_sweep(sweep)
    trials = Trials(name, sweep)
    points: list[Values] = []
    rows: list[dict[str, Any]] = []
    with console.progress_bar(total=sweep.n_trials, desc=f"sweep {name}", unit="trial") as progress:
        # In order, saved ones too: a point of a search depends on all trials before it.
        for number in range(sweep.n_trials):
            saved = trials.saved_point(number)
            values = choose_point(sweep, points, rows) if saved is None else saved
            error = trials.run(number, values) if saved is None else ""
            points.append(values)
            rows.append(trial_row(trials, number, values, error))
            if saved is None or number == sweep.n_trials - 1:
                write_report(trials, rows)
            progress.update()
    failed = [row for row in rows if row["error"]]
    summary = f"{len(rows) - len(failed)} trials done, {len(failed)} failed"
    if len(failed) < len(rows):
        best = best_row(rows, sweep.score.direction)
        labels = [parameter.label for parameter in sweep.parameters.values()]
        point = ", ".join(f"{label} = {best[label]}" for label in labels)
        summary += f"; best is {best['experiment']} with {best['score']:.4g} at {point}"
    console.log_line(f"{name}: {summary}")
    if failed:
        sys.exit(FAILED)


def choose_point(
    sweep: Sweep, points: Sequence[Values], rows: Sequence[Mapping[str, Any]]
) -> Values:
    """Return the point of the next trial: of a search, from the trials before it."""
    if sweep.method == "grid":
        return sweep.points()[len(rows)]
    scores = [None if row["error"] else row["score"] for row in rows]
    return next_point(sweep, list(zip(points, scores, strict=True)))


def trial_row(trials: Trials, number: int, values: Values, error: str) -> dict[str, Any]:
    """Return a trial's row: number, experiment, values by their labels, score, interval, error.

    A score that is not finite is an error.
    """
    score, experiment, estimate = trials.sweep.score, trials.experiment(number), Estimate()
    if not error:
        estimate = read_score(trials.read_file(number, score.file), score)
        if not isfinite(estimate.score):
            estimate, error = Estimate(), "the score is not finite"
    if error:
        console.log_line(f"{experiment} failed: {error}")
    parameters = trials.sweep.parameters
    point = {parameter.label: format_value(values[path]) for path, parameter in parameters.items()}
    row = {"trial": number, "experiment": experiment} | point
    return row | estimate._asdict() | {"error": error}


def write_report(trials: Trials, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table and the figure of the trials so far."""
    sweep, folder, table = trials.sweep, SWEEP_REPORTS / trials.name, pd.DataFrame(rows)
    with atomic_replace(folder / "trials.csv") as tmp:
        table.to_csv(tmp, index=False, lineterminator="\n")
    saved = table.loc[table["error"] == "", "trial"].tolist()
    if not saved:
        return
    score, baseline, style_params = sweep.score, None, load_params().figures
    if isinstance(score, AccuracyScore) and score.baseline:
        text = trials.read_file(saved[0], score.file)
        baseline = read_accuracy(text, score, score.baseline)
    figure = draw_sweep(table, sweep, baseline, style_params.palette, style_params.width_in)
    style.save(figure, folder / "score", dpi=style_params.dpi)


if __name__ == "__main__":
    # A SIGTERM ends the running trial too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.run_stage("sweep", main, item="sweep", timed=False)
