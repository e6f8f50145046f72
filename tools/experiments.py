"""Experiments of DVC, run one after the other from one commit."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import psutil


def head_commit() -> str:
    """Return the commit that experiments start from."""
    return git("rev-parse", "HEAD")


def check_unchanged(commit: str) -> None:
    """Raise ValueError if the workspace is no longer that of a commit."""
    changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed or head_commit() != commit:
        what = changed[0].split()[-1] if changed else "HEAD"
        raise ValueError(f"{what}: has changed: expected all trials to share a commit")


def experiment_ref(experiment: str, commit: str) -> str:
    """Return the git reference of a saved experiment."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{experiment}"


def run_dvc(*arguments: str) -> str:
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


def git(*arguments: str) -> str:
    """Run git and return what it printed. Raises ValueError with its error."""
    process = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if process.returncode:
        raise ValueError(f"git {arguments[0]}: {process.stderr.strip()}")
    return process.stdout.strip()


def is_ancestor(commit: str) -> bool:
    """Return whether a commit is HEAD or precedes it; one that is not known here does not."""
    process = subprocess.run(
        ["git", "merge-base", "--is-ancestor", commit, "HEAD"], capture_output=True
    )
    return process.returncode == 0


def failure_reason(output: Sequence[str]) -> str:
    """Return, of DVC's output, the last line of the stage that failed, or else DVC's error."""
    lines = [line.strip() for line in output if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("ERROR:")]
    start = errors[0] if errors else len(lines)
    last = lines[start - 1] if start else ""
    if last and not last.startswith((">", "Running stage", "Reproducing", "WARNING:")):
        return last
    return " ".join(lines[start:]).removeprefix("ERROR: ") or "DVC gave no reason"
