"""Grades in the harness are those of the second grader."""

import json
from pathlib import Path

import pytest

from stages.lib.grading.second_grader import grade_again
from tests.lib.grading.test_second_grader import ANSWERS
from tools.harness import uphill_tasks


def test_the_problems_of_a_file_are_the_split_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "p"}\n{"id": "q"}\n', encoding="utf-8")
    monkeypatch.setattr(uphill_tasks, "__file__", str(tmp_path / "uphill_tasks.py"))
    loaded = uphill_tasks.load(file="a.jsonl", version=1.0)
    assert {split: json.dumps(rows["id"][:]) for split, rows in loaded.items()} == {
        "test": '["p", "q"]'
    }


def test_answers_get_the_grades_of_the_second_grader() -> None:
    # Without what Math-Verify cannot finish: the harness has no limits of its own.
    answers = [answer for answer, verdict in ANSWERS if verdict is not None]
    for answer, verdict in zip(answers, grade_again(answers), strict=True):
        doc = {"answer": answer.reference, "letters": answer.letters}
        assert uphill_tasks.grade(doc, [answer.text]) == {"exact_match": float(verdict or 0)}
