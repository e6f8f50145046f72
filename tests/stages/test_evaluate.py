"""The stage's mistakes of the user, named before a model is loaded."""

import shutil
from pathlib import Path

import pytest

from stages import evaluate
from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem, content_id
from stages.lib.core.tables import write_parquet
from stages.lib.inference import pool


def problem(name: str, solution: str) -> Problem:
    return Problem(
        id=content_id(name, solution),
        source=name,
        question="2 + 2?",
        answer="4",
        kind="number",
        choices=[],
        solution=solution,
        program="",
        level=None,
        topic=name,
        template=name,
    )


def test_a_held_out_benchmark_without_solutions_is_named_before_the_engine_is_loaded(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "EngineConfig", None)
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    for name in ("ladder", "gsm8k", "math500"):
        solution = "" if name == "ladder" else "It is 4."
        write_parquet(EVAL_PROBLEMS / f"{name}.parquet", [problem(name, solution)])
    complaint = r"^evaluate\.held_out: 'ladder': none of its 1 problems has a worked solution"
    with pytest.raises(ValueError, match=complaint):
        evaluate.main("base")


def test_problems_without_a_solution_are_not_scored() -> None:
    with_, exclude = problem("ladder", "It is 4."), problem("ladder", "")
    assert evaluate.held_out({"ladder": [exclude, with_]}, "ladder") == [with_]
