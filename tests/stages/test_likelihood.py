"""Likelihoods of worked solutions: what is written, and mistakes of the user."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from stages import likelihood
from stages.lib.core.files import read_json
from stages.lib.core.paths import EVAL_PROBLEMS, LIKELIHOOD_REPORTS, LIKELIHOODS, MODELS
from stages.lib.core.schema import Likelihood, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.models import loading
from stages.lib.models.folder import weight_bytes
from tests.stages.conftest import Change

LADDER = EVAL_PROBLEMS / "ladder.parquet"


@pytest.fixture
def problems(with_problems: Change, tiny_base: Path) -> list[Problem]:
    """Enter a folder with benchmarks and a model; return the problems of the held-out one."""
    with_problems({"evaluate.held_out": "ladder"})
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    return read_parquet(LADDER, Problem)


def test_solved_problems_are_scored_and_others_are_not(
    problems: list[Problem], tiny_base: Path
) -> None:
    unsolved, *solved = problems
    write_parquet(LADDER, [replace(unsolved, solution=""), *solved])
    likelihood.main("base")
    rows = read_parquet(LIKELIHOODS / "base.parquet", Likelihood)
    assert [row.problem_id for row in rows] == [problem.id for problem in solved]
    report = read_json(LIKELIHOOD_REPORTS / "base.json")
    # A token per byte, and the end of the turn.
    expected = [len(problem.solution.encode()) + 1 for problem in solved]
    assert [row.n_tokens for row in rows] == expected
    assert report["held_out_tokens"] == sum(expected)
    assert weight_bytes(tiny_base) * 0.9 < report["memory_bytes"] <= weight_bytes(tiny_base)


def test_a_benchmark_without_solutions_is_named_before_the_model_is_loaded(
    problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "load_quantized", None)
    write_parquet(LADDER, [replace(problem, solution="") for problem in problems])
    message = rf"^evaluate\.held_out: 'ladder': none of its {len(problems)} problems has a worked"
    with pytest.raises(ValueError, match=message):
        likelihood.main("base")


def test_a_solution_that_does_not_fit_is_named(
    problems: list[Problem], change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "load_quantized", None)
    change({"engine.max_model_len": 32})
    with pytest.raises(ValueError, match=rf"max_model_len: 32: .*{problems[0].id} \(cot\) has"):
        likelihood.main("base")


@pytest.mark.parametrize(("cuda", "device"), [(True, "cuda:0"), (False, "cpu")])
def test_the_model_is_scored_on_the_gpu_where_there_is_one(
    problems: list[Problem], monkeypatch: pytest.MonkeyPatch, *, cuda: bool, device: str
) -> None:
    asked: list[dict[str, str]] = []

    def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
        asked.append(options["device_map"])
        return loading.load_model(folder, dtype)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr("stages.lib.inference.dequantize.load_model", load_model)
    row = Likelihood(problems[0].id, problems[0].source, nats=1.0, n_tokens=2)
    monkeypatch.setattr(likelihood, "score", lambda *_: [row])
    likelihood.main("base")
    assert asked == [{"": device}]
