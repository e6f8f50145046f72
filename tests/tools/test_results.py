"""The table of results in a terminal, and what changed since the last commit."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.repo import Repo

from stages.lib.core.files import write_json
from tests.stages import reports
from tools import results


def test_it_prints_accuracies_differences_and_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reports.build(reports.recipe())
    write_json(Path("reports/metrics.json"), {"accuracy": {"uniform": {"cot": 0.25}}, "a": 1})
    Path("dvc.lock").unlink()
    Path("dvc.yaml").write_text("metrics: [reports/metrics.json]\n")
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init()
    for command in ("git add .", "git -c user.name=a -c user.email=a@b commit -qm one"):
        subprocess.run(command.split(), check=True, capture_output=True)
    write_json(Path("reports/metrics.json"), {"accuracy": {"uniform": {"cot": 0.5}}})
    capsys.readouterr()
    results.main()
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["uniform", "CoT", "50.0", "15.0", "to", "85.0", "n", "=", "4"] in lines
    assert "adaptive - uniform" in text
    assert "not shown to differ" in text
    assert max(map(len, text.splitlines())) <= results.WIDTH
    assert sorted(lines[-2:]) == [
        ["a", "1", "-", "-"],
        ["accuracy.uniform.cot", "0.25", "0.5", "0.25"],
    ]


def test_it_prints_what_the_study_showed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unchanged:
        def __enter__(self) -> Any:
            return SimpleNamespace(metrics=SimpleNamespace(diff=dict))

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    reports.build(reports.recipe())
    monkeypatch.setattr(results, "Repo", Unchanged)
    study = {"result": "`a` " + "gains " * 30, "meaning": "It matters."}
    monkeypatch.setattr(results, "read_study", lambda *_: study)
    results.main()
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("The registered study (reports/study/)")
    assert lines[first + 2].startswith("a gains")
    assert lines[-1].endswith("It matters.")
    assert max(map(len, lines)) <= results.WIDTH


def test_without_a_change_it_says_so() -> None:
    assert results.change_table({}) == "nothing changed"
