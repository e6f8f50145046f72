"""The whole pipeline on a tiny model of another architecture.

One run goes through. A copy of it, without what two stages made, is killed while it samples and
while it trains, and resumed each time: it must end with the same hashes.
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

from stages.lib.core.paths import CHECKPOINTS, FOLLOW_UPS, GRADES, MODELS, REPORTS, SAMPLES
from stages.lib.core.schema import EvalRecord, system_name
from stages.lib.core.tables import read_parquet
from stages.lib.generations.store import Store
from tests.conftest import skip_without_engine
from tests.mini import clone, commit, cut, hashes, locked, set_params, stages_run, start, tables

# One worker runs them all, and the undisturbed run that they share.
pytestmark = pytest.mark.xdist_group("dag")

PATIENCE_S = 900
SERVED = re.compile(r"http://127\.0\.0\.1:\d+")


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a process, which must succeed, and return its output."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    return output


def kill_when(repository: Path, condition: Callable[[], bool]) -> None:
    """Start ``dvc repro``, and kill it with all its children when a condition holds."""
    process = start(repository)
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, f"over before the kill: {process.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """Return a repository in which the pipeline ran undisturbed."""
    skip_without_engine()
    repository = clone(tmp_path_factory.mktemp("dag") / "full", tiny_base)
    finish(start(repository))
    return repository


def test_a_run_that_is_killed_twice_ends_like_one_that_is_not(tmp_path: Path, full: Path) -> None:
    killed = tmp_path / "killed"
    cut(full, killed, ["sample", "train@adaptive"])
    kill_when(killed, lambda: any((killed / SAMPLES).glob("*.parquet")))
    kill_when(killed, lambda: any((killed / CHECKPOINTS).glob("adaptive/*/checkpoint-2/complete")))
    finish(start(killed))
    assert hashes(killed) == hashes(full)
    assert tables(killed) == tables(full)


def test_answers_that_match_no_option_get_a_follow_up_question(full: Path) -> None:
    rows = [row for row in read_parquet(full / GRADES, EvalRecord) if row.option_source]
    assert {row.benchmark for row in rows} == {"aqua"}
    follow_ups = {
        (system_name("adaptive", row.shots), row.problem_id, row.prompting)
        for row in Store(full / FOLLOW_UPS / "adaptive").rows()
    }
    assert follow_ups == {
        (row.system, row.problem_id, row.prompting)
        for row in rows
        if row.system in ("adaptive", "adaptive-1shot")
    }


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 on loopback, with an empty bucket ``uphill``; yield the server's address."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    output = tmp_path / "server.txt"
    # A process of its own: vLLM stumbles over Flask where both are imported.
    command = [sys.executable, "-m", "moto.server", "--port", "0"]
    with output.open("w") as log, subprocess.Popen(command, stderr=log) as server:
        while not (address := SERVED.search(output.read_text())):
            assert server.poll() is None, output.read_text()
            time.sleep(0.05)
        boto3.client("s3", endpoint_url=address[0]).create_bucket(Bucket="uphill")
        yield address[0]
        server.kill()


# Before the test that changes ``full``.
def test_a_run_shared_through_s3_becomes_the_paper_elsewhere_without_a_model(
    tmp_path: Path, full: Path, s3: str
) -> None:
    """As docs/sharing.md says: push, clone, pull what the paper needs, then the rest."""
    sender, receiver = tmp_path / "sender", tmp_path / "receiver"
    shutil.copytree(full, sender)
    remote = "[core]\nremote = store\n['remote \"store\"']\nurl = s3://uphill/runs\n"
    (sender / ".dvc/config").write_text(f"{remote}endpointurl = {s3}\n")
    subprocess.run(["git", "add", "--all"], cwd=sender, check=True)
    commit(sender)
    finish(start(sender, "push"))
    subprocess.run(["git", "clone", "--quiet", sender, receiver], check=True)
    shutil.rmtree(sender / ".dvc" / "cache")

    answered = [name for name in locked(sender) if name.startswith(("evaluate@", "follow_up@"))]
    finish(start(receiver, "pull", "prepare", "analyze", *answered))
    assert stages_run(finish(start(receiver, "repro", "--allow-missing"))) == set()
    assert stages_run(finish(start(receiver, "repro", "-s", "-f", "paper"))) == {"paper"}
    assert not (receiver / MODELS).exists()
    for name in ("paper.pdf", "index.html"):
        assert (receiver / REPORTS / name).read_bytes() == (sender / REPORTS / name).read_bytes()

    finish(start(receiver, "pull"))
    assert "up to date" in finish(start(receiver, "status"))
    assert hashes(receiver) == hashes(sender)


def test_only_what_a_change_concerns_runs_again(full: Path) -> None:
    assert stages_run(finish(start(full))) == set()

    set_params(full, {"weigh.arms.adaptive.factor": 0.5})
    ran = stages_run(finish(start(full, "repro", "train@adaptive")))
    assert ran == {"check", "weigh@adaptive", "train@adaptive"}

    before = sample_texts(full)
    set_params(full, {"sample.k": 3})
    ran = stages_run(finish(start(full, "repro", "score")))
    assert ran == {"check", "sample", "resample", "score"}
    after = sample_texts(full)
    assert len(after) == len(before) * 3 // 2
    assert {key: after[key] for key in before} == before


def sample_texts(repository: Path) -> dict[tuple[str, int], str]:
    return {(row.problem_id, row.index): row.text for row in Store(repository / SAMPLES).rows()}


def test_a_wrong_parameter_stops_the_run_before_any_work(full: Path) -> None:
    set_params(full, {"figures.colour": "red"})
    process = start(full)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert "check: params.yaml: figures.colour: unknown" in output
    assert "Traceback" not in output
    assert stages_run(output) == {"check"}
