"""How a block is composed, and how it is read from its experiment."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.tables import write_parquet
from tests.rows import make_problem, make_record
from tests.tools.study.test_endpoints import STUDY
from tests.tools.study.test_endpoints import block as make_block
from tools.study import run
from tools.study.spec import load_study

REPORT = {"epochs": 0.3}
TIMING = {"seconds": 12.5}
ALLOCATION = "step,source,prompting,examples\n1,gcd,cot,2\n1,gcd,pot,1\n2,gcd,cot,3"


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a saved experiment whose two systems answered two problems."""
    problems = [make_problem(name, source="gcd") for name in ("p1", "p2")]
    write_parquet(tmp_path / "ladder.parquet", problems)
    records = [
        make_record(system, name, "cot", status=status)
        for system, statuses in (("uniform", ("wrong", "correct")), ("mastery", ("correct",) * 2))
        for name, status in zip(("p1", "p2"), statuses, strict=True)
    ]
    write_parquet(tmp_path / "grades.parquet", records)

    class Files:
        def __init__(self, rev: str) -> None:
            assert rev == "revision"

        def get_file(self, name: str, into: str) -> None:
            shutil.copy(tmp_path / Path(name).name, into)

    def git(command: str, argument: str) -> str:
        if command == "rev-parse":
            return f"tree of {argument}"
        assert command == "show"
        assert argument.startswith("revision:reports/")
        if argument.endswith("allocation.csv"):
            return ALLOCATION
        return json.dumps(TIMING if "/timings/" in argument else REPORT)

    monkeypatch.setattr(run, "DVCFileSystem", Files)
    monkeypatch.setattr(run, "git", git)


@pytest.mark.usefixtures("experiment")
def test_a_block_has_the_outcomes_and_what_each_training_reported() -> None:
    block = run.read_block(STUDY.recipe, 3, "commit", "revision", "text")
    assert block.outcomes == {"uniform": {"gcd/cot": "01"}, "mastery": {"gcd/cot": "11"}}
    trained = ("uniform", "mastery", "dealt")
    assert block.reports == dict.fromkeys(trained, REPORT | TIMING)
    assert block.examples == dict.fromkeys(trained, {"gcd/cot": 5, "gcd/pot": 1})
    assert (block.seed, block.commit, block.registration) == (3, "commit", "text")
    assert block.code == run.code_id(STUDY.recipe)


@pytest.mark.usefixtures("experiment")
def test_the_code_of_a_block_covers_its_parameters() -> None:
    assert run.code_id(STUDY.recipe) == run.code_id(STUDY.recipe)
    assert run.code_id(STUDY.recipe) != run.code_id("ladder")


def test_a_block_has_its_seed_in_every_run() -> None:
    assert run.overrides(STUDY.recipe, 7) == [
        "recipe=study",
        "train.seed=7",
        "weigh.replays.dealt.seed=7",
    ]


@pytest.mark.parametrize("saved", [False, True])
def test_a_block_is_run_once_with_its_seed_and_then_read(
    saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[tuple[str, ...]] = []
    reference = run.experiment_ref("study-7", "abcdef")

    def git(command: str, *arguments: str) -> str:
        if command == "for-each-ref":
            assert arguments == (reference,)
            return "there" if saved else ""
        return f"id of {arguments[-1]}"

    def run_dvc(*arguments: str) -> str:
        runs.append(arguments)
        return ""

    monkeypatch.setattr(run, "git", git)
    monkeypatch.setattr(run, "run_dvc", run_dvc)
    monkeypatch.setattr(run, "check_unchanged", lambda _: None)
    monkeypatch.setattr(run, "read_block", lambda *arguments: arguments)
    registration = "id of abcdef:docs/preregistration.md"
    read = run.run_block("study", 7, "abcdef")
    assert read == ("study", 7, "abcdef", f"id of {reference}", registration)
    settings = tuple(f"--set-param={text}" for text in run.overrides("study", 7))
    expected = ("exp", "run", "--temp", "--name", "study-7", *settings, "analyze")
    assert runs == ([] if saved else [expected])
    monkeypatch.setattr(run, "run_dvc", lambda *_: "boom")
    if not saved:
        with pytest.raises(ValueError, match="^block 7: boom$"):
            run.run_block("study", 7, "abcdef")


def test_a_further_block_has_the_code_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "code_id", lambda _: "new")
    run.check_code("study", [])
    run.check_code("study", [make_block(1, {}, code="new")])
    with pytest.raises(ValueError, match=r"^HEAD: code new: expected x, .*: check out c$"):
        run.check_code("study", [make_block(1, {})])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"control": "frontier"}, r"^control: 'frontier': expected one of \['uniform', 'mas"),
        ({"control": "uniform"}, "^control: 'uniform': expected a control of 'mastery'$"),
        ({"easy": ["gcd/cot", "gdc/pot"]}, r"^easy: 'gdc/pot': expected one of \['chain-4-t"),
    ],
)
def test_a_study_has_the_arms_and_cells_of_its_recipe(
    change: dict[str, Any], message: str | None
) -> None:
    study = load_study().model_copy(update=change)
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        run.check_names(study)


def test_a_study_has_hard_cells() -> None:
    params = run.load_recipe("study")
    easy = [f"{rung}/{prompting}" for rung in params.prepare.rungs for prompting in ("cot", "pot")]
    with pytest.raises(ValueError, match="^easy: all 22 cells: expected others to be hard$"):
        run.check_names(load_study().model_copy(update={"easy": easy}))


def test_the_dose_curve_is_measured_on_dev() -> None:
    run.check_dev(run.load_recipe("study-dose"))
    with pytest.raises(ValueError, match="part: 'test': expected 'dev'$"):
        run.check_dev(run.load_recipe("study"))
