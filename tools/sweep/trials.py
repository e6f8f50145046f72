"""The trials of a sweep: DVC experiments of one commit, one after the other."""

import csv
import io
import json
from typing import Any

from tools.experiments import check_unchanged, experiment_ref, git, run_dvc
from tools.sweep.spec import Objective, Sweep, Values


def saved_point(experiment: str, commit: str, sweep: Sweep) -> Values | None:
    """Return the point of a saved trial, or None if it is not saved.

    Raises ValueError if a trial of another sweep is saved under its name.
    """
    message = git("for-each-ref", "--format=%(contents)", experiment_ref(experiment, commit))
    if not message:
        return None
    saved = json.loads(message) if message.startswith("{") else {}
    if saved.get("sweep") != _shared(sweep):
        raise ValueError(
            f"experiment {experiment}: was saved with other targets, overrides or parameters: run "
            f"`dvc exp remove {experiment}`, or give the sweep another name"
        )
    return saved["point"]


def run_trial(experiment: str, commit: str, sweep: Sweep, values: Values) -> str:
    """Run a trial and save it with its point; return why that failed, or an empty text.

    Raises ValueError if the workspace has changed.
    """
    check_unchanged(commit)
    message = json.dumps({"point": values, "sweep": _shared(sweep)})
    overrides = [f"--set-param={text}" for text in sweep.overrides_at(values)]
    # In a folder of its own: the workspace stays as it is.
    command = ["exp", "run", "--temp", "--name", experiment, "--message", message]
    return run_dvc(*command, *overrides, *sweep.targets)


def score_of(experiment: str, commit: str, score: Objective) -> float:
    """Return the score of a saved trial. Raises ValueError if it has none."""
    return read_score(git("show", f"{experiment_ref(experiment, commit)}:{score.file}"), score)


def read_score(text: str, score: Objective) -> float:
    """Read a score from the text of its file. Raises ValueError if it has no such number."""
    where = f"score: {score.file}"
    value: Any
    if score.row is None:
        value, parts = json.loads(text), score.key.split(".")
    else:
        table = csv.DictReader(io.StringIO(text))
        rows = [row for row in table if score.row.items() <= row.items()]
        if len(rows) != 1:
            raise ValueError(f"{where}: {len(rows)} rows of {score.row}: expected one")
        value, parts = rows[0], [score.key]
    for part in parts:
        keys = list(value) if isinstance(value, dict) else []
        if part not in keys:
            raise ValueError(f"{where}: key: {part!r}: expected one of {keys}")
        value = value[part]
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {score.key}: {value!r}: expected a number") from error


def _shared(sweep: Sweep) -> dict[str, Any]:
    """Return what trials have in common: all but their number and the choice of a score."""
    return sweep.model_dump(mode="json", exclude={"trials", "score"})
