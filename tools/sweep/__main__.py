"""Run a sweep: a grid of parameters, or a search for good ones.

Reads ``conf/sweep/NAME.yaml``. Runs each trial in ``data/sweeps/NAME/``, a clone at one
commit, and saves it as the DVC experiment ``NAME-NUMBER``. Writes into
``reports/sweeps/`` after every trial:

- ``NAME.csv``: every trial with its parameters, score, interval and error,
- ``NAME-best.csv``: the best of them,
- ``NAME.svg`` and ``NAME.png``: the score by the parameters.

A sweep that was killed goes on: trials that ended are kept, failed ones are tried again.
Exit status 3 says that a trial failed.

    python -m tools.sweep NAME
"""

import sys
from pathlib import Path

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import CONF, SWEEP_REPORTS, SWEEPS
from stages.lib.figures import style
from stages.lib.params.evaluation import Figures
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.sweep import charts, results, search, spec, trials
from tools.sweep.spec import Grid, Sweep, Values
from tools.sweep.trials import Record

FAILED = 3
BEST = 5


def main(name: str) -> None:
    """Run a sweep to its end."""
    wanted = spec.load(name)
    look = load_params().figures
    repository = SWEEPS / name / trials.REPOSITORY
    record = ready(name, wanted, repository)
    raw = spec.compose(wanted.overrides, repository / CONF)
    failed = report(name, wanted, record, look)
    done = set(record.trials) - set(failed)
    todo = [number for number in range(wanted.trials) if number not in done]
    console.log_line(f"{name}: {len(todo)} of {wanted.trials} trials left, at {record.commit[:7]}")
    bar = console.progress_bar(total=len(todo), doing=f"sweep {name}", unit="trial")
    with trials.terminated_as_interrupted(), bar as progress:
        for number in todo:
            values = point(wanted, record, number)
            trials.set_params(repository, spec.changed(raw, values))
            experiment = f"{name}-{number:02d}"
            trial = trials.run(repository, number, values, experiment, wanted.targets)
            record.trials[number] = trial
            trials.write(SWEEPS / name, record)
            failed = report(name, wanted, record, look)
            if number in failed:
                console.log_line(f"{experiment} failed: {failed[number]}")
            progress.update()
    console.log_line(
        f"{name}: {len(record.trials) - len(failed)} trials done, {len(failed)} failed"
    )
    if failed:
        sys.exit(FAILED)


def ready(name: str, wanted: Sweep, repository: Path) -> Record:
    """Check the sweep, and return what it has done so far; of a new one, make the clone."""
    spec.check(wanted, spec.compose(wanted.overrides, CONF))
    record = trials.read(SWEEPS / name, spec.identity(wanted))
    commit = record.commit if record else trials.clone(repository)
    raw = spec.compose(wanted.overrides, repository / CONF)
    trials.set_params(repository, spec.changed(raw, wanted.tried()[0]))
    made = trials.outputs(repository, wanted.targets)
    if not made & {wanted.score.file, *wanted.score.file.parents}:
        raise ValueError(f"score: {wanted.score.file}: expected a file that {wanted.targets} make")
    if record is None:
        trials.check_out(repository, wanted.targets)
        record = Record(spec.identity(wanted), commit, {})
        trials.write(SWEEPS / name, record)
    return record


def point(wanted: Sweep, record: Record, number: int) -> Values:
    """Return the values of a trial: those that it failed with, or the next ones."""
    if number in record.trials:
        return record.trials[number].values
    if isinstance(wanted, Grid):
        return wanted.points()[number]
    scored = results.scores_of(record.trials, wanted.score)
    tried = [
        (record.trials[before].values, scored[before].score if before in scored else None)
        for before in range(number)
    ]
    return search.next_point(wanted, tried)


def report(name: str, wanted: Sweep, record: Record, look: Figures) -> dict[int, str]:
    """Write the tables and the figure of the trials so far; return why which of them failed."""
    scored = results.scores_of(record.trials, wanted.score)
    table = results.table(wanted, record.trials, scored)
    best = results.best(table, wanted.score.direction, BEST)
    for stem, rows in ((name, table), (f"{name}-best", best)):
        with atomic_replace(SWEEP_REPORTS / f"{stem}.csv") as aside:
            rows.to_csv(aside, index=False, lineterminator="\n")
    if scored:
        baseline = results.baseline_of(record.trials, wanted.score)
        figure = charts.draw(table, wanted, baseline, look.palette, look.width_in)
        style.save(figure, SWEEP_REPORTS / name, dpi=look.dpi)
    return dict(table.loc[table["error"] != "", ["trial", "error"]].itertuples(index=False))


if __name__ == "__main__":
    console.run_stage("sweep", main, item="sweep", timed=False)
