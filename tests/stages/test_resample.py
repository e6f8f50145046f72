"""Further rounds of samples, and runs of them that are killed."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stages import resample, sample
from stages.lib.core.paths import MODELS, RESAMPLES, SAMPLES
from stages.lib.core.schema import Problem
from stages.lib.difficulty import sequential
from stages.lib.generations.requests import GeneratedText
from stages.lib.generations.store import Store
from tests.stages.conftest import Change

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

pytestmark = pytest.mark.xdist_group("engines")


class DyingEngine:
    """An engine that stops after some batches, as if killed."""

    def __init__(self, engine: "Engine", batches: int) -> None:
        self.engine = engine
        self.batches = batches

    def generate_batches(self, *arguments: Any) -> Iterator[tuple[int, list[GeneratedText]]]:
        for generated in self.engine.generate_batches(*arguments):
            if not self.batches:
                raise KeyboardInterrupt
            self.batches -= 1
            yield generated


def solves_by_length(problem: Problem, text: str) -> bool:
    """Take about every other text for correct, but for short answers.

    A random model is never right, and rounds would not differ.
    """
    return len(problem.answer) > 2 > len(text) % 3


def test_a_killed_run_ends_like_one_that_was_not(
    with_problems: Change, tiny_base: Path, tiny_engine: "Engine", monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"width": 0.2, "interval": 0.9, "max_k": 6}
    with_problems({"sample.sequential": rule, "sample.prompting": ["cot", "pot"]})
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    monkeypatch.setattr(sequential, "solves", solves_by_length)

    def run(stage: Callable[[], None], batches: int) -> list[str]:
        engine = DyingEngine(tiny_engine, batches)
        monkeypatch.setattr("stages.lib.inference.engine.Engine", lambda *_: engine)
        stage()
        return sorted(shard.name for shard in RESAMPLES.glob("*.parquet"))

    run(sample.main, 1_000)
    first = list(Store(SAMPLES).rows())
    undisturbed = run(resample.main, 1_000)
    further = list(Store(RESAMPLES).rows())
    numbers = Counter(row.problem_id for row in first + further if row.prompting == "cot")
    assert {2, 6} <= set(numbers.values()) <= {2, 4, 6}
    assert {row.prompting for row in further} == {"cot"}
    assert {row.model for row in further} == {row.model for row in first}
    assert {row.index for row in first} == {0, 1}
    assert {row.index for row in further} == {2, 3, 4, 5}

    shutil.rmtree(RESAMPLES)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(resample.main, 2)
    assert run(resample.main, 1_000) == undisturbed
    assert list(Store(SAMPLES).rows()) == first
