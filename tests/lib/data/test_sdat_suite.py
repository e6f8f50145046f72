"""Benchmarks in the authors' layout: made-up files, and the real ones if a folder is given."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.lib.data.sdat_suite import LAYOUTS, read_suite
from stages.lib.grading.grader import check_answer
from stages.lib.params.data import SuiteSource

AQUA = {
    "question": "2 + 2?",
    "options": ["A)3", "B) 4", "C)none of (A) and (B)"],
    "rationale": "It is 4.",
    "correct": "B",
}
MMLU = {"question": "2 + 2?", "subject": "arithmetic", "choices": ["3", "4"], "answer": 1}
SAT = {"question": "If x = 2, what is 2x? \nAnswer Choices: (A) 3 (B) 4", "answer": "B"}
SVAMP = {
    "ID": "chal-1",
    "Body": "Ann has 2 pens. ",
    "Question": "How many are 2 more?",
    "Equation": "( 2.0 + 2.0 )",
    "Answer": 4.0,
    "Type": "Common-Divison",
}


def write_file(folder: Path, *rows: Any) -> Path:
    path = folder / "benchmark.json"
    path.write_text(json.dumps(rows))
    return path


def test_the_schema_names_every_layout() -> None:
    assert set(SuiteSource.model_fields["source"].annotation.__args__) == set(LAYOUTS)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def test_aqua_has_a_row_per_line(tmp_path: Path) -> None:
    path = tmp_path / "AQuA.json"
    path.write_text(json.dumps(AQUA) + "\n" + json.dumps(AQUA | {"question": "?"}) + "\n")
    first, second = read_suite("aqua", path)
    assert first.question == "2 + 2?\nAnswer Choices: (A) 3 (B) 4 (C) none of (A) and (B)"
    assert (first.answer, first.kind, first.solution) == ("B", "choice", "It is 4.")
    assert first.choices == ["3", "4", "none of (A) and (B)"]
    assert first.id != second.id


def test_mmlu_numbers_its_options(tmp_path: Path) -> None:
    (problem,) = read_suite("mmlu_physics", write_file(tmp_path, MMLU))
    assert (problem.answer, problem.topic, problem.choices) == ("B", "arithmetic", ["3", "4"])
    assert problem.question.endswith("Answer Choices: (A) 3 (B) 4")


def test_sat_shows_its_options(tmp_path: Path) -> None:
    (problem,) = read_suite("sat", write_file(tmp_path, SAT))
    assert (problem.question, problem.kind) == (SAT["question"], "choice")
    assert problem.choices == ["3", "4"]


def test_svamp_has_a_body_and_a_question(tmp_path: Path) -> None:
    (problem,) = read_suite("svamp", write_file(tmp_path, SVAMP))
    assert problem.question == "Ann has 2 pens. How many are 2 more?"
    assert (problem.answer, problem.kind, problem.topic) == ("4", "number", "Common-Division")


@pytest.mark.parametrize(
    ("benchmark", "answer", "expected", "kind"),
    [
        ("numglue", 1536, "1536", "number"),
        ("numglue", "August", "August", "expression"),
        ("numglue", "A", "A", "expression"),
        ("deepmind", "[2, 3]", "[2, 3]", "expression"),
        ("deepmind", "-7.0", "-7.0", "number"),
        ("simuleq", "0.9", "0.9", "number"),
    ],
)
def test_open_answers_have_the_kind_that_they_look_like(
    tmp_path: Path, benchmark: str, answer: Any, expected: str, kind: str
) -> None:
    row = {"question": "What?", "answer": answer, "type": "Type_1"}
    (problem,) = read_suite(benchmark, write_file(tmp_path, row))
    assert (problem.answer, problem.kind) == (expected, kind)


def test_numglue_has_options_where_it_shows_them(tmp_path: Path) -> None:
    (problem,) = read_suite("numglue", write_file(tmp_path, SAT | {"type": "Type_3"}))
    assert (problem.answer, problem.kind, problem.choices) == ("B", "choice", ["3", "4"])


def test_a_question_that_comes_twice_is_two_problems_of_one_cluster(tmp_path: Path) -> None:
    first, second = read_suite("sat", write_file(tmp_path, SAT, SAT))
    assert first.id != second.id
    assert first.template == second.template


@pytest.mark.parametrize(
    ("benchmark", "rows", "message"),
    [
        ("sat", [], "no problems"),
        ("sat", [{"question": "?"}], "row 0: answer: missing"),
        ("sat", [SAT, 3], "row 2: 3: expected an object"),
        ("sat", [SAT | {"question": ""}], "row 0: question: ''"),
        ("mmlu_biology", [MMLU | {"answer": "B"}], "row 0: "),
        ("mmlu_biology", [MMLU | {"answer": 40}], "row 0: "),
        ("aqua", [AQUA | {"options": None}], "row 0: "),
        ("svamp", [SVAMP | {"Body": None}], "row 0: "),
    ],
)
def test_a_malformed_row_is_named(
    tmp_path: Path, benchmark: str, rows: list[Any], message: str
) -> None:
    path = write_file(tmp_path, *rows)
    with pytest.raises(ValueError, match=message) as error:
        read_suite(benchmark, path)
    assert str(error.value).startswith(str(path))


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sat.json"
    path.write_text("[{")
    with pytest.raises(ValueError, match=r"sat\.json: not JSON"):
        read_suite("sat", path)


# File, problems and answer kinds.
REAL = {
    "aqua": ("AQuA/AQuA.json", 254, {"choice": 254}),
    "sat": ("sat/sat.json", 220, {"choice": 220}),
    "mmlu_mathematics": ("mmlu/mathematics.json", 974, {"choice": 974}),
    "mmlu_physics": ("mmlu/physics.json", 253, {"choice": 253}),
    "mmlu_chemistry": ("mmlu/chemistry.json", 303, {"choice": 303}),
    "mmlu_biology": ("mmlu/biology.json", 454, {"choice": 454}),
    "svamp": ("SVAMP/SVAMP.json", 1000, {"number": 1000}),
    "numglue": ("numglue/numglue.json", 1042, {"number": 877, "choice": 162, "expression": 3}),
    "deepmind": ("deepmind/deepmind.json", 1000, {"number": 976, "expression": 24}),
    "simuleq": ("simuleq/simuleq.json", 514, {"number": 514}),
}


@pytest.mark.skipif("SDAT_BENCHMARKS" not in os.environ, reason="SDAT_BENCHMARKS: a folder")
@pytest.mark.parametrize("benchmark", REAL)
def test_the_authors_files(benchmark: str) -> None:
    name, count, kinds = REAL[benchmark]
    problems = read_suite(benchmark, Path(os.environ["SDAT_BENCHMARKS"]) / name)
    for problem in problems:
        check_answer(problem.answer, problem.kind, problem.choices)
    assert (len(problems), Counter(p.kind for p in problems)) == (count, kinds)
