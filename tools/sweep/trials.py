"""The trials of a sweep: DVC experiments of one commit, one after the other."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil

from tools.sweep.spec import Score, Sweep, Values


def head_commit() -> str:
    """Return the commit of the trials."""
    return _git("rev-parse", "HEAD")


def saved_point(experiment: str, commit: str, sweep: Sweep) -> Values | None:
    """Return the point of a saved trial, or None if it is not saved.

    Raises ValueError if a trial of another sweep is saved under its name.
    """
    message = _git("for-each-ref", "--format=%(contents)", _ref(experiment, commit))
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
    changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed or head_commit() != commit:
        what = changed[0].split()[-1] if changed else "HEAD"
        raise ValueError(f"{what}: has changed: expected all trials to share a commit")
    message = json.dumps({"point": values, "sweep": _shared(sweep)})
    overrides = [f"--set-param={text}" for text in sweep.overrides_at(values)]
    # In a folder of its own: the workspace stays as it is.
    command = ["exp", "run", "--temp", "--name", experiment, "--message", message]
    return _dvc(*command, *overrides, *sweep.targets)


def score_of(experiment: str, commit: str, score: Score) -> float:
    """Return the score of a saved trial. Raises ValueError if it has none."""
    return read_score(_git("show", f"{_ref(experiment, commit)}:{score.file}"), score)


def read_score(text: str, score: Score) -> float:
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


def failure_reason(output: Sequence[str]) -> str:
    """Return, of DVC's output, the last line of the stage that failed, or else DVC's error."""
    lines = [line.strip() for line in output if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("ERROR:")]
    start = errors[0] if errors else len(lines)
    last = lines[start - 1] if start else ""
    if last and not last.startswith((">", "Running stage", "Reproducing", "WARNING:")):
        return last
    return " ".join(lines[start:]).removeprefix("ERROR: ") or "DVC gave no reason"


def _ref(experiment: str, commit: str) -> str:
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"


def _shared(sweep: Sweep) -> dict[str, Any]:
    """Return what trials have in common: all but their number and the choice of a score."""
    return sweep.model_dump(mode="json", exclude={"trials", "score"})


def _dvc(*arguments: str) -> str:
    """Run DVC; return why it failed, or an empty text. It prints to standard output."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "dvc", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line)
        except KeyboardInterrupt:
            # A SIGTERM reaches this process alone: end DVC and its stage as well.
            children = psutil.Process(process.pid).children(recursive=True)
            for child in (*children, process):
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
            raise
    return failure_reason(lines) if process.returncode else ""


def _git(*arguments: str) -> str:
    process = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if process.returncode:
        raise ValueError(f"git {arguments[0]}: {process.stderr.strip()}")
    return process.stdout.strip()
