"""A real sweep over DVC, of a pipeline with one quick stage, and the summary of a sweep."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from tests.tools.sweep.committed import committed, grid_rows
from tools.sweep import __main__ as sweep
from tools.sweep.spec import Sweep, Values

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 600
PR_SET_CHILD_SUBREAPER = 36
W = "weigh.arms.adaptive.factor"

# A stage that notes its run, waits at w = 1 while a file exists, and fails at w = 2 until fixed.
LEARN = """
import json, os, sys, time, yaml
from pathlib import Path

arm = yaml.safe_load(Path("params.yaml").read_text())["weigh"]["arms"]["adaptive"]
outside = Path(os.environ["OUTSIDE"])
with (outside / "runs").open("a") as stream:
    stream.write(f"{arm['factor']}\\n")
while arm["factor"] == 1 and (outside / "wait").exists():
    time.sleep(0.01)
if arm["factor"] == 2 and not (outside / "fixed").exists():
    sys.exit("learn: too hard")
Path("out").mkdir(exist_ok=True)
Path("out/loss.json").write_text(json.dumps({"loss": arm["base"] + arm["factor"]}))
"""
PIPELINE = {
    "stages": {
        "learn": {
            "cmd": f"{sys.executable} learn.py",
            "params": ["weigh.arms.adaptive"],
            "metrics": [{"out/loss.json": {"cache": False}}],
        }
    }
}
SWEEP: dict[str, Any] = {
    "targets": ["learn"],
    "overrides": ["weigh.arms.adaptive.base=3"],
    "choices": {W: [1, 2]},
    "score": {"file": "out/loss.json", "key": "loss", "direction": "minimize"},
}


def run(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with this one's parameters and a pipeline of one stage."""
    repository = tmp_path_factory.mktemp("sweep") / "toy"
    repository.mkdir()
    shutil.copytree(REPOSITORY / "conf", repository / "conf")
    shutil.copy(REPOSITORY / "params.yaml", repository)
    (repository / ".gitignore").write_text("/data/\n/logs/\n")
    (repository / "learn.py").write_text(LEARN)
    (repository / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE))
    set_sweep(repository)
    run(["git", "init", "--quiet"], repository)
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        run(["git", "config", name, value], repository)
    run([sys.executable, "-m", "dvc", "init", "--quiet"], repository)
    commit(repository)
    return repository


@pytest.fixture
def toy(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a copy of the repository."""
    copy = tmp_path / "toy"
    shutil.copytree(repository, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    return copy


def set_sweep(repository: Path, **changes: Any) -> None:
    (repository / "conf/sweep/toy.yaml").write_text(yaml.safe_dump(SWEEP | changes))


def commit(repository: Path) -> None:
    run(["git", "add", "."], repository)
    run(["git", "commit", "--quiet", "--message", "t"], repository)


def run_until_it_learns_and_kill(repository: Path) -> None:
    """Start the sweep as a process; kill it, and all that it started, during the first trial."""
    # DVC takes the lock of a zombie for held: adopt its process, to reap it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.sweep", "toy"],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + TIMEOUT_S
    while not (repository.parent / "runs").is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for child in children:
        with suppress(ChildProcessError):
            os.waitpid(child.pid, 0)


def learned(repository: Path) -> list[str]:
    return (repository.parent / "runs").read_text().split()


def trial_table(repository: Path) -> pd.DataFrame:
    return pd.read_csv(repository / "reports/sweeps/toy/trials.csv", keep_default_na=False)


def error_message() -> str:
    with pytest.raises(ValueError) as error:
        sweep.main("toy")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_killed_sweep_resumes_and_runs_only_what_is_not_saved(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (toy.parent / "wait").touch()
    run_until_it_learns_and_kill(toy)
    assert learned(toy) == ["1"]
    (toy.parent / "wait").unlink()

    # A trial that fails is in the table.
    with pytest.raises(SystemExit) as stop:
        sweep.main("toy")
    assert stop.value.code == 3
    assert "toy-01 failed: learn: too hard" in capfd.readouterr().err
    assert learned(toy) == ["1", "1", "2"]
    assert trial_table(toy)["error"].tolist() == ["", "learn: too hard"]

    (toy.parent / "fixed").touch()
    sweep.main("toy")
    assert f"toy: 2 trials done, 0 failed; best is toy-00 with 4 at {W}=1" in capfd.readouterr().err
    assert learned(toy) == ["1", "1", "2", "2"]
    assert trial_table(toy)[[W, "score"]].values.tolist() == [[1, 4], [2, 5]]
    refs = run(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], toy).split()
    names = {ref.rpartition("/")[2] for ref in refs if "/exec/" not in ref}
    assert names == {"toy-00", "toy-01"}
    assert run(["git", "status", "--porcelain"], toy).split() == ["??", "reports/"]
    outputs = {path.name for path in (toy / "reports/sweeps/toy").iterdir()}
    assert outputs == {"trials.csv", "score.png", "score.svg"}

    # Another score is read from the saved trials; trials of other overrides are not mixed.
    set_sweep(toy, score=SWEEP["score"] | {"key": "los"})
    assert "score: out/loss.json: key: 'los': expected one of ['loss']" in error_message()
    set_sweep(toy, overrides=["weigh.arms.adaptive.base=2"])
    assert "experiment toy-00: was saved with other targets, overrides or" in error_message()
    assert learned(toy) == ["1", "1", "2", "2"]


def test_a_search_keeps_its_saved_points_when_a_failed_trial_succeeds_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = Sweep.model_validate(SWEEP | {"trials": 4, "seed": 1})
    saved: dict[str, Values] = {}
    fixed = False
    tables: list[list[dict[str, Any]]] = []

    def run_trial(experiment: str, commit: str, sweep: Sweep, values: Values) -> str:
        if values[W] == 2 and not fixed:
            return "too hard"
        saved[experiment] = values
        return ""

    monkeypatch.setattr(sweep, "load_sweep", lambda _: search)
    monkeypatch.setattr(sweep, "head_commit", lambda: "abcdef")
    monkeypatch.setattr(sweep, "saved_point", lambda experiment, *_: saved.get(experiment))
    monkeypatch.setattr(sweep, "run_trial", run_trial)
    monkeypatch.setattr(sweep, "score_of", lambda *_: 1.0)
    monkeypatch.setattr(sweep, "write_report", lambda *arguments: tables.append(arguments[-1]))
    with pytest.raises(SystemExit):
        sweep.main("toy")
    assert 0 < len(saved) < 4
    before = dict(saved)
    # Another score before the saved trials, of which the search must not choose other points.
    fixed = True
    sweep.main("toy")
    assert {name: saved[name] for name in before} == before
    assert len(saved) == 4
    assert [row["error"] for row in tables[-1]] == [""] * 4


def test_a_mistake_stops_a_sweep_before_any_trial(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    set_sweep(toy, targets=["lern"], choices={W: [1]})
    commit(toy)
    with pytest.raises(SystemExit):
        sweep.main("toy")
    assert "'lern' does not exist" in capfd.readouterr().err
    set_sweep(toy)
    assert "conf/sweep/toy.yaml: has changed: expected all trials to share a" in error_message()
    assert not (toy.parent / "runs").exists()


def test_a_failed_trial_is_counted_and_never_the_best() -> None:
    grid, rows = committed("grid"), grid_rows()
    assert sweep.summary(rows, grid) == (
        "15 trials done, 1 failed; best is grid-05 with 0.9 at "
        "weigh.arms.adaptive.base=1, weigh.arms.adaptive.factor=0.5"
    )
    lowest = grid.score.model_copy(update={"direction": "minimize"})
    assert "best is grid-00" in sweep.summary(rows, grid.model_copy(update={"score": lowest}))
    assert sweep.summary(rows[3:4], grid) == "0 trials done, 1 failed"
