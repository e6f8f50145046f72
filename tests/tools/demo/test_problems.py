from pathlib import Path

import pytest

from stages.lib.core.paths import CONF, DEMONSTRATIONS, EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import write_parquet
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from tests.rows import make_problem
from tools.demo.problems import (
    OWN,
    QUESTION,
    GradableProblem,
    available_models,
    example_questions,
    load_gradable_problems,
    worked_examples,
)

GSM8K = ["+prepare.benchmarks.gsm8k={source: gsm8k, size: 2}", "+evaluate.max_tokens.gsm8k=64"]
PARAMS = parse_params(compose(GSM8K, CONF), where="test")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problem(question: str) -> Problem:
    return make_problem(question, question=question, answer="4")


def test_models_are_those_with_weights_in_the_order_of_evaluation() -> None:
    assert available_models(["base"]) == []
    for name in ("zeta", "base", "alpha", ".base.12.tmp"):
        (MODELS / name).mkdir(parents=True)
        (MODELS / name / "model.safetensors").touch()
    (MODELS / "empty").mkdir()
    assert available_models(["uniform", "base"]) == ["base", "alpha", "zeta"]


def test_prepared_benchmarks_can_be_graded_with_their_limits() -> None:
    assert list(load_gradable_problems(PARAMS)) == [QUESTION]
    write_parquet(EVAL_PROBLEMS / "ladder.parquet", [problem(" What is 2 + 2?\n")])
    problems = load_gradable_problems(PARAMS)
    assert {
        question: (gradable.benchmark, gradable.max_tokens)
        for question, gradable in problems.items()
    } == {
        QUESTION: (OWN, PARAMS.demo.max_tokens),
        "What is 2 + 2?": ("ladder", PARAMS.evaluate.max_tokens["ladder"]),
    }
    assert problems[QUESTION].problem.answer == str(125 * 45 + 678)
    (EVAL_PROBLEMS / "ladder.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="ladder.parquet: not a whole Parquet file"):
        load_gradable_problems(PARAMS)


def test_worked_examples_are_of_the_problems_own_source(tmp_path: Path) -> None:
    pool = [
        make_problem(f"{source}{n}", source=source, solution=f"Solution {source}{n}.")
        for source in ("s", "t")
        for n in (1, 2)
    ]
    write_parquet(DEMONSTRATIONS, pool)
    known = GradableProblem("ladder", make_problem("q", source="t"), 9)
    found = worked_examples(known, "cot", 2)
    assert [turn.response for turn in found] == ["Solution t1.", "Solution t2."]
    others = worked_examples(None, "cot", 2)
    assert [turn.response for turn in others] == ["Solution s1.", "Solution t1."]
    assert worked_examples(None, "pot", 0) == []
    with pytest.raises(ValueError, match="prepare.demonstrations: 0 for source"):
        worked_examples(known, "pot", 1)


def test_examples_are_evenly_spaced_in_each_benchmark() -> None:
    write_parquet(EVAL_PROBLEMS / "ladder.parquet", [problem(f"l{i}") for i in range(6)])
    write_parquet(EVAL_PROBLEMS / "gsm8k.parquet", [problem("g0"), problem("g1")])
    assert example_questions(load_gradable_problems(PARAMS), 3) == {
        OWN: [QUESTION],
        "ladder": ["l0", "l2", "l4"],
        "gsm8k": ["g0", "g1"],
    }
