"""The command of a study: what it refuses, and what it writes after the last block."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stages.lib.core.files import read_json
from stages.lib.core.paths import PARAMS, STUDY_REPORTS
from stages.lib.core.tables import read_csv
from tests.lib.report.test_study import DESIGN
from tests.tools.study.test_endpoints import STUDY, gains, simulated
from tools.study import __main__ as command
from tools.study import run
from tools.study.blocks import Block, write_block
from tools.study.endpoints import look_half_width

Commit = Callable[[str], str]


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commit:
    """Work in an empty repository; return a function that commits a registered text."""
    params = run.load_recipe("study")
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_study", lambda: STUDY)
    monkeypatch.setattr(command, "check_names", lambda _: None)
    monkeypatch.setattr(command, "load_recipe", lambda _: params)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)

    def register(text: str) -> str:
        run.REGISTRATION.parent.mkdir(exist_ok=True)
        run.REGISTRATION.write_text(text)
        subprocess.run([*git, "add", str(run.REGISTRATION)], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", text], check=True)
        return run.git("rev-parse", "HEAD")

    return register


def write(commit: str, registration: str, *, seeds: int = 8) -> None:
    for block in simulated(gains(0.12, 0.0), seeds=seeds):
        registered = replace(block, commit=commit, registration=registration)
        write_block(command.BLOCKS, registered)


def test_nothing_is_compared_before_the_last_block(commit: Commit) -> None:
    first = commit("we will test one thing")
    write(first, run.registered_text(first), seeds=7)
    with pytest.raises(ValueError, match="7 of 8 blocks: expected all before anything"):
        command.main("report")
    assert not (STUDY_REPORTS / "endpoints.csv").exists()
    command.main("end")
    rows = read_csv(STUDY_REPORTS / "endpoints.csv")
    assert [row["verdict"] for row in rows] == ["met", "met", "met"]
    assert {row["blocks"] for row in rows} == {"7"}
    # Sizes are those of the recipe; the made-up blocks have fewer cells.
    expected = DESIGN | {"commit": first, "hard_cells": 3, "easy_cells": 2}
    half_width = look_half_width(STUDY, simulated(gains(0.12, 0.0)))
    assert half_width is not None
    expected["look"] = {"blocks": 6, "half_width": round(half_width, 4), "limit": 0.2}
    assert read_json(STUDY_REPORTS / "design.json") == expected
    assert len(read_csv(STUDY_REPORTS / "arms.csv")) == 6
    assert len(read_csv(STUDY_REPORTS / "compute.csv")) == 3
    assert {path.name for path in STUDY_REPORTS.glob("forest.*")} == {"forest.svg", "forest.png"}
    with pytest.raises(
        ValueError, match=r"ended\.json: the study was ended and .*: expected no more"
    ):
        command.main("run")


def test_a_finished_study_runs_nothing_more(
    commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit("we will test one thing")
    write(first, run.registered_text(first))

    def no_block(*_: object) -> Block:
        raise AssertionError

    monkeypatch.setattr(command, "run_block", no_block)
    command.main("run")
    command.main("report")
    assert read_csv(STUDY_REPORTS / "endpoints.csv")[0]["blocks"] == "8"


def test_a_block_of_another_text_is_refused(commit: Commit) -> None:
    first = commit("we will test one thing")
    text = run.registered_text(first)
    second = commit("we tested another")
    write(second, text)
    with pytest.raises(ValueError, match=r"^block 1: commit: .*preregistration\.md to be the same"):
        command.main("report")
    # The text of the block's own commit, but changed since.
    write(first, text)
    with pytest.raises(ValueError, match=r"preregistration\.md to be the same"):
        command.main("report")


def test_a_block_of_a_commit_elsewhere_is_refused(commit: Commit) -> None:
    commit("we will test one thing")
    branch = run.git("branch", "--show-current")
    run.git("checkout", "--quiet", "-b", "elsewhere")
    other = commit("and more")
    run.git("checkout", "--quiet", branch)
    write(other, run.registered_text(other))
    with pytest.raises(ValueError, match=r"^block 1: commit: .*: expected an ancestor of HEAD$"):
        command.main("report")
    write("0" * 40, run.registered_text(other))  # unknown here, as in a shallow clone
    with pytest.raises(ValueError, match=r"^block 1: commit: 0+: expected an ancestor of HEAD$"):
        command.main("report")


def test_choices_rest_on_the_part_for_them(commit: Commit) -> None:
    commit("something")
    with pytest.raises(ValueError, match=r"benchmarks\.ladder\.part: 'test': expected 'dev'$"):
        command.main("dev")


def test_without_a_registration_nothing_runs(commit: Commit) -> None:
    commit("something")
    run.git("rm", "--quiet", str(run.REGISTRATION))
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "none"], check=True
    )
    with pytest.raises(ValueError, match=r"preregistration\.md"):
        run.run_block(STUDY.recipe, 1, run.git("rev-parse", "HEAD"))


def test_the_untrained_model_answers_the_problems_of_the_study(
    commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit("we will test one thing")
    write(first, run.registered_text(first))
    (block,) = simulated(gains(0.12, 0.0), seeds=1)
    answers = {"base-4shot": block.outcomes["uniform"]}
    # The answers are read and graded as in the stage `analyze`.
    monkeypatch.setattr(command, "read_benchmarks", lambda _: {})
    monkeypatch.setattr(command, "read_answers", lambda models: list(models))
    monkeypatch.setattr(command, "grade_answers", lambda *_: [])
    monkeypatch.setattr(command, "outcomes_of", lambda *_: (answers, "other"))
    with pytest.raises(ValueError, match="problems other: expected those of the study$"):
        command.main("base")
    monkeypatch.setattr(command, "outcomes_of", lambda *_: (answers, "p"))
    command.main("base")
    command.main("report")
    rows = read_csv(STUDY_REPORTS / "arms.csv")
    assert [row["system"] for row in rows[:3]] == ["base-4shot", "base-4shot", "uniform"]
    assert [row["run_sd"] == "" for row in rows[:3]] == [True, True, False]


def test_an_unknown_action_is_named(commit: Commit) -> None:
    with pytest.raises(ValueError, match="^'look': expected run, report, end, dose, dev or base$"):
        command.main("look")
