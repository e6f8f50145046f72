from pathlib import Path

import pytest

from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import write_parquet
from stages.lib.params.load import load_params
from tests.conftest import REPOSITORY
from tools.demo.problems import (
    OWN,
    QUESTION,
    examples,
    found_models,
    known_problems,
    validation_error,
)

WANTED = load_params(REPOSITORY / "params.yaml")


def problem(question: str) -> Problem:
    return Problem(question, "s", question, "4", "number", [], "", "", None, "t", "t")


def test_models_are_those_with_weights_in_the_order_of_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert found_models(["base"]) == []
    for name in ("zeta", "base", "alpha", ".base.12.tmp"):
        (MODELS / name).mkdir(parents=True)
        (MODELS / name / "model.safetensors").touch()
    (MODELS / "empty").mkdir()
    assert found_models(["uniform", "base"]) == ["base", "alpha", "zeta"]


def test_benchmarks_that_are_there_are_known_with_their_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(known_problems(WANTED)) == [QUESTION]
    write_parquet(EVAL_PROBLEMS / "ladder.parquet", [problem(" What is 2 + 2?\n")])
    known = known_problems(WANTED)
    assert {text: (one.benchmark, one.max_tokens) for text, one in known.items()} == {
        QUESTION: (OWN, WANTED.demo.max_tokens),
        "What is 2 + 2?": ("ladder", WANTED.evaluate.max_tokens["ladder"]),
    }
    assert known[QUESTION].problem.answer == str(125 * 45 + 678)
    (EVAL_PROBLEMS / "ladder.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="ladder.parquet: not a whole Parquet file"):
        known_problems(WANTED)


def test_examples_are_spread_over_each_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(EVAL_PROBLEMS / "ladder.parquet", [problem(f"l{i}") for i in range(6)])
    write_parquet(EVAL_PROBLEMS / "gsm8k.parquet", [problem("g0"), problem("g1")])
    assert examples(known_problems(WANTED), 3) == [
        (OWN, QUESTION),
        ("ladder", "l0"),
        ("ladder", "l2"),
        ("ladder", "l4"),
        ("gsm8k", "g0"),
        ("gsm8k", "g1"),
    ]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "Write a question first."),
        ("x" * 1200, ""),
        ("x" * 1201, "The question has 1,201 characters; at most 1,200 are possible."),
    ],
)
def test_a_question_has_a_length(question: str, said: str) -> None:
    assert validation_error(question, 1200) == said
