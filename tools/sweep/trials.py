"""Runs the trials of a sweep in a clone of the repository, each saved as a DVC experiment.

A clone, at one commit and with the same cache, leaves the workspace alone: it may be
edited, committed and run while a sweep runs, and every trial sees the same code. What a
killed trial has done (checkpoints, generations) stays in the clone for the next start.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from dvc.exceptions import DvcException
from dvc.repo import Repo
from omegaconf import OmegaConf

from stages.lib.core.files import atomic_replace, read_json, write_json, write_text
from stages.lib.core.paths import PARAMS

REPOSITORY = "repository"
RECORD = "sweep.json"
DVC = (sys.executable, "-u", "-m", "dvc")


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that ended: a commit, or the line that says what went wrong, or both."""

    number: int
    values: Mapping[str, Any]
    experiment: str
    commit: str
    error: str


@dataclass(frozen=True, slots=True)
class Record:
    """A sweep so far: what it varies (a hash), the commit it runs at, and its trials."""

    identity: str
    commit: str
    trials: dict[int, Trial]


def read(folder: Path, identity: str) -> Record | None:
    """Return the record of a sweep that was begun, if it was.

    Raises ValueError if that one varied something else.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    found = read_json(path)
    if found["identity"] != identity:
        raise ValueError(
            f"{folder}: has trials of other targets, overrides or parameters: remove it, or "
            "give the sweep another name"
        )
    return Record(
        identity, found["commit"], {one["number"]: Trial(**one) for one in found["trials"]}
    )


def write(folder: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    trials = [asdict(trial) for _, trial in sorted(record.trials.items())]
    write_json(
        folder / RECORD,
        {"identity": record.identity, "commit": record.commit, "trials": trials},
    )


def clone(repository: Path) -> str:
    """Clone the repository that this runs in, at its commit and with its cache; return the commit.

    Raises ValueError if a tracked file is not committed.
    """
    changes = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changes:
        others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise ValueError(
            f"{changes[0].split()[-1]}{others}: expected to be committed: every trial runs at "
            "the same commit"
        )
    commit = _git("rev-parse", "HEAD")
    cache = subprocess.run([*DVC, "cache", "dir"], capture_output=True, text=True, check=True)
    with atomic_replace(repository) as aside:
        _git("clone", "--quiet", "--no-checkout", ".", str(aside))
        _git("checkout", "--quiet", "--detach", commit, within=aside)
        write_text(aside / ".dvc" / "config.local", f"[cache]\n    dir = {cache.stdout.strip()}\n")
    return commit


def set_params(repository: Path, params: Mapping[str, Any]) -> None:
    """Write the parameters of a trial."""
    write_text(repository / PARAMS, OmegaConf.to_yaml(OmegaConf.create(dict(params))))


def outputs(repository: Path, targets: Sequence[str]) -> set[Path]:
    """Return what the stages that ``targets`` need write. Raises ValueError for no stage."""
    found = set()
    with chdir(repository), Repo() as repo:
        for target in targets:
            try:
                stages = repo.stage.collect(target, with_deps=True)
            except (DvcException, FileNotFoundError) as error:
                raise ValueError(f"targets: {target!r}: {error}") from error
            for stage in stages:
                found |= {Path(out.def_path) for out in stage.outs}
    return found


def check_out(repository: Path, targets: Sequence[str]) -> None:
    """Fetch from the cache what the targets' stages have made before."""
    with chdir(repository), Repo() as repo:
        repo.checkout(list(targets), with_deps=True, force=True, allow_missing=True)


def run(
    repository: Path,
    number: int,
    values: Mapping[str, Any],
    experiment: str,
    targets: Sequence[str],
) -> Trial:
    """Reproduce the targets with the parameters in place, and save the experiment.

    The repository that this runs in gets the experiment as well. What DVC prints goes to
    standard output.
    """
    _release(repository / ".dvc" / "tmp" / "rwlock")
    status, said = _dvc(repository, ["repro", *targets])
    if not status:
        # Reports of new arms and models: what git neither has nor ignores.
        made = _git("ls-files", "--others", "--exclude-standard", within=repository).splitlines()
        include = [part for path in made for part in ("--include-untracked", path)]
        save = ["exp", "save", "--force", "--name", experiment, *include, *targets]
        status, said = _dvc(repository, save)
    if status:
        return Trial(number, values, experiment, "", reason(said))
    ref = _git(
        "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{experiment}", within=repository
    )
    _git("fetch", "--quiet", str(repository), f"+{ref}:{ref}")
    return Trial(number, values, experiment, _git("rev-parse", ref), "")


def reason(said: Sequence[str]) -> str:
    """Return the line that says why a command of DVC failed: a stage's own, or DVC's."""
    lines = [line.strip() for line in said if line.strip()]
    at = next((place for place, line in enumerate(lines) if line.startswith("ERROR:")), len(lines))
    before = lines[at - 1] if at else ""
    if before and not before.startswith((">", "Running stage", "Reproducing", "WARNING:")):
        return before
    return lines[at].removeprefix("ERROR: ") if at < len(lines) else "no reason was given"


def file_of(trial: Trial, path: Path) -> str:
    """Return a file as a trial left it. Raises ValueError if git does not have it."""
    try:
        return _git("show", f"{trial.commit}:{path}")
    except ValueError as error:
        raise ValueError(f"{path}: experiment {trial.experiment}: {error}") from error


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C within this context, so that a trial ends with the sweep."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _release(lock: Path) -> None:
    """Remove what killed processes locked: DVC takes one that nobody has reaped for running."""
    if lock.is_file():
        held = read_json(lock)
        readers = [one for several in held.get("read", {}).values() for one in several]
        if not any(_runs(one["pid"]) for one in [*held.get("write", {}).values(), *readers]):
            lock.unlink()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _dvc(repository: Path, command: Sequence[str]) -> tuple[int, list[str]]:
    said = []
    with subprocess.Popen(
        [*DVC, *command],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        try:
            for line in running.stdout or ():
                said.append(line)
                sys.stdout.write(line)
                sys.stdout.flush()
        except KeyboardInterrupt:
            for child in psutil.Process(running.pid).children(recursive=True):
                child.terminate()
            running.terminate()
            raise
    return running.returncode, said


def _git(*arguments: str, within: Path = Path()) -> str:
    done = subprocess.run(["git", *arguments], cwd=within, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
