"""The trials of a sweep: DVC experiments that run one after the other in a clone.

A clone at one commit, with the same cache, leaves the workspace free for other work and
gives every trial the same code. A trial is ``dvc repro`` and ``dvc exp save`` instead of
``dvc exp run``, which, after a kill, would discard the answers gathered so far.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir, suppress
from pathlib import Path

import psutil
import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.lib.core.files import atomic_replace, write_text
from stages.lib.core.paths import CONF, DATA, PARAMS
from tools.sweep.spec import Sweep, Values, compose_trial


class Trials:
    """The experiments of a sweep, by number, and the clone in which they run."""

    def __init__(self, name: str, sweep: Sweep) -> None:
        """Make the clone, unless there is one.

        Raises ValueError if a target is not a stage, no target writes the score's file, or,
        for a new clone, a tracked file is not committed.
        """
        self.name, self.sweep = name, sweep
        self.clone = DATA / "sweeps" / name / "repository"
        if self.clone.is_dir():
            self._prepare(self.clone, checkout=False)
        else:
            with atomic_replace(self.clone) as tmp:
                _make_clone(tmp)
                self._prepare(tmp, checkout=True)
        self.commit = _git("rev-parse", "HEAD", cwd=self.clone)
        # Trials compare if only their number and the choice of a score differ.
        self._shared = sweep.model_dump(mode="json", exclude={"trials", "score"})

    def experiment(self, number: int) -> str:
        """Return the name of a trial's DVC experiment."""
        return f"{self.name}-{number:02d}"

    def saved_point(self, number: int) -> Values | None:
        """Return the point of a saved trial, or None if it is not saved.

        Raises ValueError if something else was saved under its name.
        """
        message = _git("for-each-ref", "--format=%(contents)", self._ref(number))
        if not message:
            return None
        saved = json.loads(message) if message.startswith("{") else {}
        if saved.get("sweep") != self._shared:
            name = self.experiment(number)
            raise ValueError(
                f"experiment {name}: was saved with other targets, overrides or parameters: "
                f"run `dvc exp remove {name}`, or give the sweep another name"
            )
        return saved["point"]

    def read_file(self, number: int, path: Path) -> str:
        """Return a file as a trial left it. Raises ValueError if git does not have it."""
        try:
            return _git("show", f"{self._ref(number)}:{path}")
        except ValueError as error:
            raise ValueError(f"{path}: experiment {self.experiment(number)}: {error}") from error

    def run(self, number: int, values: Values) -> str:
        """Reproduce the targets at a point and save the experiment; return why that failed.

        The text is empty after success. DVC and its stages print to standard output.
        """
        _write_params(self.clone, self.sweep, values)
        targets = self.sweep.targets
        if error := self._dvc("repro", *targets):
            return error
        # Reports on new arms and models are files that git neither tracks nor ignores.
        untracked = _git("ls-files", "--others", "--exclude-standard", cwd=self.clone)
        include = [f"--include-untracked={path}" for path in untracked.splitlines()]
        message = json.dumps({"point": values, "sweep": self._shared})
        named = ("--force", "--name", self.experiment(number), "--message", message)
        if error := self._dvc("exp", "save", *named, *include, *targets):
            return error
        ref = self._ref(number)
        _git("fetch", "--quiet", str(self.clone), f"+{ref}:{ref}")
        return ""

    def _ref(self, number: int) -> str:
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{self.experiment(number)}"

    def _prepare(self, clone: Path, *, checkout: bool) -> None:
        """Check targets and score; with ``checkout``, fetch earlier outputs from the cache."""
        # The stages depend on the parameters: each arm has its own.
        _write_params(clone, self.sweep, self.sweep.points()[0])
        targets, file, outputs = list(self.sweep.targets), self.sweep.score.file, set()
        with chdir(clone), Repo() as repo:
            for target in targets:
                try:
                    stages = repo.stage.collect(target, with_deps=True)
                except (DvcException, FileNotFoundError) as error:
                    raise ValueError(f"targets: {target!r}: {error}") from error
                outputs |= {Path(out.def_path) for stage in stages for out in stage.outs}
            if not outputs & {file, *file.parents}:
                raise ValueError(f"score: {file}: expected a file that {targets} write")
            if checkout:
                repo.checkout(targets, with_deps=True, force=True, allow_missing=True)

    def _dvc(self, *arguments: str) -> str:
        """Run DVC in the clone; return why it failed, or an empty text."""
        lines = []
        with subprocess.Popen(
            [sys.executable, "-u", "-m", "dvc", *arguments],
            cwd=self.clone,
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


def failure_reason(output: Sequence[str]) -> str:
    """Return, of DVC's output, the last line of the stage that failed, or else DVC's error."""
    lines = [line.strip() for line in output if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("ERROR:")]
    start = errors[0] if errors else len(lines)
    last = lines[start - 1] if start else ""
    if last and not last.startswith((">", "Running stage", "Reproducing", "WARNING:")):
        return last
    return " ".join(lines[start:]).removeprefix("ERROR: ") or "DVC gave no reason"


def _make_clone(clone: Path) -> None:
    changes = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changes:
        others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        path = changes[0].split()[-1]
        raise ValueError(f"{path}{others}: expected to be committed: all trials share a commit")
    with Repo() as repo:
        cache = repo.cache.local.path
    _git("clone", "--quiet", ".", str(clone))
    _git("checkout", "--quiet", "--detach", cwd=clone)
    write_text(clone / ".dvc" / "config.local", f"[cache]\n    dir = {cache}\n")


def _write_params(clone: Path, sweep: Sweep, values: Values) -> None:
    params = compose_trial(sweep, values, clone / CONF)
    write_text(clone / PARAMS, yaml.safe_dump(params, sort_keys=False))


def _git(*arguments: str, cwd: Path = Path()) -> str:
    process = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True)
    if process.returncode:
        raise ValueError(f"git {arguments[0]}: {process.stderr.strip()}")
    return process.stdout.strip()
