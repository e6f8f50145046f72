"""The whole pipeline, twice, on a tiny model of another architecture.

One run goes through; the other is killed while it samples, trains and evaluates, and
taken up again each time. Both must end with the same hashes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import yaml

from stages.lib.core.paths import ANSWERS, CHECKPOINTS, GRADES, MODELS, REPORTS, SAMPLES
from stages.lib.core.schema import EvalRecord
from stages.lib.core.tables import read_parquet
from stages.lib.generations.store import Store
from stages.lib.params.evaluation import system_name
from tests.small import clone, commit, hashes, set_params, stages_run, start, tables

# One worker runs them all, and the undisturbed run that they share.
pytestmark = pytest.mark.xdist_group("dag")

PATIENCE_S = 900
SERVED = re.compile(r"http://127\.0\.0\.1:\d+")


def finish(running: subprocess.Popen[str]) -> str:
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0, said
    return said


def kill_when(repository: Path, reached: Callable[[], bool]) -> None:
    """Start ``dvc repro`` and kill it, and all that it started, at a moment."""
    running = start(repository)
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert running.poll() is None, f"over before it was killed: {running.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """Return a repository in which the pipeline ran undisturbed."""
    repository = clone(tmp_path_factory.mktemp("dag") / "whole", tiny_base)
    finish(start(repository))
    return repository


def test_a_run_that_is_killed_thrice_ends_like_one_that_is_not(
    tmp_path: Path, tiny_base: Path, whole: Path
) -> None:
    killed = clone(tmp_path / "killed", tiny_base)
    kill_when(killed, lambda: any((killed / SAMPLES).glob("*.parquet")))
    first = sorted(path.name for path in (killed / SAMPLES).glob("*.parquet"))
    assert first
    kill_when(killed, lambda: any((killed / CHECKPOINTS).glob("adaptive/*/checkpoint-2/complete")))
    kill_when(killed, lambda: any((killed / ANSWERS / "adaptive").glob("*.parquet")))
    finish(start(killed))
    assert hashes(killed) == hashes(whole)
    assert tables(killed) == tables(whole)
    assert {"data/models/adaptive", "data/answers/base", "data/likelihoods/base.parquet"} <= set(
        hashes(whole)
    )
    assert {"accuracy.csv", "comparisons.csv", "quantization.csv"} <= set(tables(whole))


def test_what_names_no_option_is_asked_for_the_closest(whole: Path) -> None:
    graded = read_parquet(whole / GRADES, EvalRecord)
    option_source = {
        (row.system, row.problem_id, row.prompting): row.option_source
        for row in graded
        if row.option_source
    }
    assert option_source
    assert {row.benchmark for row in graded if row.option_source} == {"aqua"}
    with_options = {row.problem_id for row in graded if row.benchmark == "aqua"}
    replies = {
        (system_name("base", row.shots), row.problem_id, row.prompting)
        for row in Store(whole / ANSWERS / "base" / "closest_option").rows()
    }
    assert replies == {place for place in option_source if place[0].startswith("base")}
    assert {problem for _, problem, _ in replies} <= with_options


def share(run: Path, url: str, **settings: str) -> None:
    """Commit a run and push what DVC keeps of it to a remote, as docs/shared.md says."""
    finish(start(run, "remote", "add", "--default", "store", url))
    for name, value in settings.items():
        finish(start(run, "remote", "modify", "store", name, value))
    subprocess.run(["git", "add", "--all"], cwd=run, check=True)
    commit(run)
    finish(start(run, "push"))


# Before the tests that change ``whole``.
def test_a_shared_run_becomes_the_paper_elsewhere_without_a_model(
    tmp_path: Path, whole: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(whole, ours)
    share(ours, str(tmp_path / "store"))
    subprocess.run(["git", "clone", "--quiet", ours, theirs], check=True)
    shutil.rmtree(ours / ".dvc" / "cache")

    lock = yaml.safe_load((ours / "dvc.lock").read_text(encoding="utf-8"))
    answered = [name for name in lock["stages"] if name.startswith("evaluate@")]
    finish(start(theirs, "pull", "prepare", "analyze", *answered))
    assert stages_run(finish(start(theirs, "repro", "--allow-missing"))) == set()
    assert stages_run(finish(start(theirs, "repro", "-s", "-f", "paper"))) == {"paper"}
    assert not (theirs / MODELS).exists()
    for name in ("paper.pdf", "index.html"):
        assert (theirs / REPORTS / name).read_bytes() == (ours / REPORTS / name).read_bytes()

    finish(start(theirs, "pull"))
    assert "up to date" in finish(start(theirs, "status"))
    assert hashes(theirs) == hashes(ours)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 on loopback, with an empty bucket ``uphill``; yield the server's address."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    said = tmp_path / "server.txt"
    # A process of its own: vLLM stumbles over Flask where both are imported.
    command = [sys.executable, "-m", "moto.server", "--port", "0"]
    with said.open("w") as log, subprocess.Popen(command, stderr=log) as server:
        while not (found := SERVED.search(said.read_text())):
            assert server.poll() is None, said.read_text()
            time.sleep(0.05)
        boto3.client("s3", endpoint_url=found[0]).create_bucket(Bucket="uphill")
        yield found[0]
        server.kill()


def test_a_run_is_shared_through_s3(tmp_path: Path, whole: Path, s3: str) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(whole, ours)
    share(ours, "s3://uphill/runs", endpointurl=s3)
    subprocess.run(["git", "clone", "--quiet", ours, theirs], check=True)
    finish(start(theirs, "pull"))
    assert "up to date" in finish(start(theirs, "status"))
    assert hashes(theirs) == hashes(ours)
    for path in hashes(ours):
        if (ours / path).is_file():
            assert (theirs / path).read_bytes() == (ours / path).read_bytes()


def test_only_what_a_change_concerns_runs_again(whole: Path) -> None:
    assert stages_run(finish(start(whole))) == set()

    set_params(whole, {"figures.dpi": 60})
    assert stages_run(finish(start(whole))) == {"check", "card", "figures", "paper"}

    set_params(whole, {"weigh.arms.adaptive.factor": 0.5})
    said = stages_run(finish(start(whole, "repro", "train@adaptive", "train@uniform")))
    assert said == {"check", "weigh@adaptive", "weigh@uniform", "train@adaptive"}

    before = shards_text(whole)
    set_params(whole, {"sample.k": 3})
    assert stages_run(finish(start(whole, "repro", "score"))) == {"check", "sample", "score"}
    after = shards_text(whole)
    assert len(after) == len(before) * 3 // 2
    assert {place: after[place] for place in before} == before


def shards_text(repository: Path) -> dict[tuple[str, int], str]:
    return {(row.problem_id, row.index): row.text for row in Store(repository / SAMPLES).rows()}


def test_a_wrong_parameter_stops_the_run_before_any_work(tmp_path: Path, tiny_base: Path) -> None:
    repository = clone(tmp_path / "wrong", tiny_base)
    set_params(repository, {"figures.colour": "red"})
    running = start(repository)
    said, _ = running.communicate(timeout=PATIENCE_S)
    assert running.returncode != 0
    assert "check: params.yaml: figures.colour: unknown" in said
    assert "Traceback" not in said
    assert stages_run(said) == {"check"}
    assert not (repository / "data").exists()
