"""A real sweep over DVC, of a pipeline with one quick stage."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from stages.lib.core.files import read_json
from tools.sweep import __main__ as stage

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 600
W = "weigh.arms.adaptive.factor"

# It learns of w, waits while a file is there, and fails for w = 2 until it is mended.
LEARN = """
import json, os, sys, time, yaml
from pathlib import Path

arm = yaml.safe_load(Path("params.yaml").read_text())["weigh"]["arms"]["adaptive"]
outside = Path(os.environ["OUTSIDE"])
with (outside / "runs").open("a") as stream:
    stream.write(f"{arm['factor']}\\n")
while arm["factor"] == 1 and (outside / "wait").exists():
    time.sleep(0.01)
if arm["factor"] == 2 and not (outside / "mended").exists():
    sys.exit("learn: too hard")
Path("made").mkdir(exist_ok=True)
Path("made/loss.json").write_text(json.dumps({"loss": arm["base"] + arm["factor"]}))
"""
PIPELINE = {
    "stages": {
        "learn": {
            "cmd": f"{sys.executable} learn.py",
            "params": ["weigh.arms.adaptive"],
            "metrics": [{"made/loss.json": {"cache": False}}],
        }
    }
}
SWEEP = {
    "method": "grid",
    "targets": ["learn"],
    "overrides": ["weigh.arms.adaptive.base=3"],
    "parameters": {W: {"label": "w", "choices": [0.5, 1, 2]}},
    "score": {"metric": "made/loss.json:loss", "direction": "minimize"},
}


def run(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a repository with our parameters and a pipeline of one stage."""
    repository = tmp_path / "toy"
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
    monkeypatch.chdir(repository)
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    return repository


def set_sweep(repository: Path, **changes: Any) -> None:
    (repository / "conf/sweep/toy.yaml").write_text(yaml.safe_dump(SWEEP | changes))


def commit(repository: Path) -> None:
    run(["git", "add", "."], repository)
    run(["git", "commit", "--quiet", "--message", "t"], repository)


def start(repository: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.sweep", "toy"],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_when_it_learns(repository: Path, values: list[str]) -> None:
    """Start the sweep as its own process; kill it, and all that it started, at a moment."""
    running = start(repository)
    deadline = time.monotonic() + PATIENCE_S
    while not (repository.parent / "runs").is_file() or learned(repository) != values:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def learned(repository: Path) -> list[str]:
    return (repository.parent / "runs").read_text().split()


def table(repository: Path, name: str = "toy") -> pd.DataFrame:
    return pd.read_csv(repository / f"reports/sweeps/{name}.csv", keep_default_na=False)


def test_a_sweep_that_is_killed_goes_on_and_what_failed_is_tried_again(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (toy.parent / "wait").touch()
    kill_when_it_learns(toy, ["0.5", "1"])
    assert table(toy)["experiment"].tolist() == ["toy-00"]

    # The workspace is free meanwhile: what is changed there is not part of the sweep.
    (toy.parent / "wait").unlink()
    (toy / "learn.py").write_text("raise SystemExit('changed')")
    with pytest.raises(SystemExit) as stop:
        stage.main("toy")
    assert stop.value.code == 3
    assert "toy-02 failed: learn: too hard" in capfd.readouterr().err
    assert learned(toy) == ["0.5", "1", "1", "2"]
    assert table(toy)["error"].tolist() == ["", "", "learn: too hard"]

    (toy.parent / "mended").touch()
    stage.main("toy")
    assert "toy: 3 trials done, 0 failed" in capfd.readouterr().err
    assert learned(toy) == ["0.5", "1", "1", "2", "2"]
    assert table(toy)[["w", "score"]].values.tolist() == [[0.5, 3.5], [1, 4], [2, 5]]
    assert table(toy, "toy-best")["trial"].tolist() == [0, 1, 2]
    assert run(["git", "status", "--porcelain"], toy).split() == [
        "M",
        "learn.py",
        "??",
        "reports/",
    ]
    refs = run(["git", "for-each-ref", "--format=%(refname)", "refs/exps"], toy).split()
    assert [ref.rpartition("/")[2] for ref in refs] == ["toy-00", "toy-01", "toy-02"]
    assert {path.name for path in (toy / "reports/sweeps").iterdir()} == {
        "toy.csv",
        "toy-best.csv",
        "toy.png",
        "toy.svg",
    }


WRONG = [
    ({"targets": ["lern"]}, "targets: 'lern': "),
    (
        {"score": {"metric": "made/los.json:loss", "direction": "minimize"}},
        "score: made/los.json: expected a file that ['learn'] make",
    ),
]


def test_what_is_wrong_stops_a_sweep_before_any_trial(toy: Path) -> None:
    for changes, message in WRONG:
        set_sweep(toy, **changes)
        commit(toy)
        assert message in refused()
    (toy / "learn.py").write_text("")
    assert "learn.py: expected to be committed" in refused()
    assert not (toy.parent / "runs").exists()
    assert not (toy / "data/sweeps/toy/sweep.json").exists()


def test_a_wrong_metric_costs_no_trial_and_other_parameters_want_a_new_sweep(
    toy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {"metric": "made/loss.json:los", "direction": "minimize"}
    one = {W: {"label": "w", "choices": [0.5]}}
    set_sweep(toy, score=wrong, parameters=one)
    commit(toy)
    assert "score.metric: 'los': 'los': expected one of ['loss']" in refused()
    set_sweep(toy, parameters=one)
    stage.main("toy")
    assert "toy: 0 of 1 trials left" in capfd.readouterr().err
    assert learned(toy) == ["0.5"]
    assert len(read_json(toy / "data/sweeps/toy/sweep.json")["trials"]) == 1
    set_sweep(toy)
    assert "data/sweeps/toy: has trials of other targets, overrides or" in refused()


def refused() -> str:
    with pytest.raises(ValueError) as error:
        stage.main("toy")
    return str(error.value)
