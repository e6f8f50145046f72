"""The trials of a sweep: DVC experiments of one commit, one after the other."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

import psutil
import yaml

from stages.lib.core.paths import CONF, PARAMS
from stages.lib.params.compose import compose
from tools.sweep.spec import Score, Sweep, Values


def head_commit() -> str:
    """Return the commit of the trials."""
    return _git("rev-parse", "HEAD")


def run_trial(
    experiment: str, commit: str, sweep: Sweep, values: Values
) -> tuple[float | None, str]:
    """Run a trial, unless it is saved; return its score, or None and why there is none.

    Raises ValueError if another trial is saved under its name, if the workspace has changed,
    and if a saved trial has no such score.
    """
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"
    overrides = sweep.overrides_at(values)
    if not _git("for-each-ref", ref):
        _check_committed(commit)
        # In a folder of its own: the workspace stays as it is.
        command = ["exp", "run", "--temp", "--name", experiment]
        if error := _dvc(*command, *(f"--set-param={text}" for text in overrides), *sweep.targets):
            return None, error
    elif yaml.safe_load(_git("show", f"{ref}:{PARAMS}")) != compose(overrides, CONF):
        raise ValueError(
            f"experiment {experiment}: was saved with other overrides or parameters: run "
            f"`dvc exp remove {experiment}`, or give the sweep another name"
        )
    score = read_score(_git("show", f"{ref}:{sweep.score.file}"), sweep.score)
    return (score, "") if isfinite(score) else (None, "the score is not finite")


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


def _check_committed(commit: str) -> None:
    changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed or head_commit() != commit:
        what = changed[0].split()[-1] if changed else "HEAD"
        raise ValueError(f"{what}: has changed: expected all trials to share a commit")


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
