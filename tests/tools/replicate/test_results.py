"""Reading published results: names, options, and files that are skipped."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.replicate.results import PublishedModel, parse_name, read_results

QUESTION = "How many?\nAnswer Choices: (A) 3 (B) f(A) + 4 (C) none of these"


def row(**changes: Any) -> dict[str, Any]:
    fields = {"question": "How many?", "output": "2", "gt": "2", "ans": "2"}
    return fields | {"err": False, "correct": True} | changes


def write(folder: Path, model: str, **files: Any) -> None:
    for name, content in files.items():
        path = folder / model / "results" / f"{name.replace('__', '-')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("name", "b", "w", "steps"),
    [
        ("llemma-7b-bs128-gas1-lr2e-5-wd0-epochs3--checkpoint-6144", None, None, 6144),
        ("llemma-7b-core-pre-b1-w0.5-bs128-lr2e-5--checkpoint-3195", 1.0, 0.5, 3195),
        ("other-b0-w2", 0.0, 2.0, None),
    ],
)
def test_b_w_and_steps_are_read_from_a_name(
    name: str, b: float | None, w: float | None, steps: int | None
) -> None:
    assert parse_name(name) == PublishedModel(name, b, w, steps)


def test_rows_become_problems_with_a_kind_and_options(tmp_path: Path) -> None:
    rows = [row(), row(gt="[2, 3]"), row(question=QUESTION, gt="B"), row(gt="A")]
    pot = [row | {"question": row["question"] + " Let's write a program."} for row in rows]
    write(tmp_path, "m", numglue__cot=rows, numglue__pot=pot)
    skipped: list[str] = []
    cases = read_results(tmp_path, skipped.append)
    assert skipped == []
    problems = [case.problem for case in cases if case.prompting == "pot"]
    kinds = [problem.kind for problem in problems]
    assert kinds == ["number", "expression", "choice", "expression"]
    assert problems[2].choices == ["3", "f(A) + 4", "none of these"]
    assert [case.problem for case in cases if case.prompting == "cot"] == problems


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sat__cot": [row()]}, "m/results/sat-pot.json: missing"),
    ({"sat__cot": "[{", "sat__pot": [row()]}, "m/results/sat-cot.json: not complete JSON: "),
    ({"sat__cot": {}, "sat__pot": [row()]}, "m/results/sat-cot.json: expected a list of rows"),
    (
        {"sat__cot": [row(), {"question": "q", "gt": "1"}], "sat__pot": [row(), row()]},
        "m/results/sat-cot.json: row 1: output: missing",
    ),
    (
        {"sat__cot": [row()], "sat__pot": [row(correct="yes")]},
        "m/results/sat-pot.json: row 0: correct: 'yes': ",
    ),
    ({"sat__cot": [row(), 3], "sat__pot": [row()]}, "m/results/sat-cot.json: row 1: 3: expected"),
    (
        {"sat__cot": [row()], "sat__pot": [row(gt="3")]},
        "m/results/sat-pot.json: expected the problems of the other files of sat",
    ),
    ({"chess__cot": [row()]}, "m/results/chess-cot.json: not a file of a known benchmark"),
]


@pytest.mark.parametrize(("files", "message"), BAD)
def test_an_unusable_file_is_named_and_the_rest_is_read(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    write(tmp_path, "m", svamp__cot=[row()], svamp__pot=[row()], **files)
    skipped: list[str] = []
    cases = read_results(tmp_path, skipped.append)
    assert [case.benchmark for case in cases] == ["svamp", "svamp"]
    assert len(skipped) == 1
    assert message in skipped[0]
    assert "\n" not in skipped[0]


def test_a_benchmark_that_another_model_has_is_expected(tmp_path: Path) -> None:
    write(tmp_path, "a", svamp__cot=[row()], svamp__pot=[row()])
    write(tmp_path, "b", sat__cot=[row()], sat__pot=[row()])
    skipped: list[str] = []
    read_results(tmp_path, skipped.append)
    assert [line.rpartition("/results/")[2] for line in skipped] == [
        "sat-cot.json: missing",
        "svamp-cot.json: missing",
    ]


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no <model>/results in it"):
        read_results(tmp_path, print)
