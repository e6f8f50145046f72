"""Completing a store: only what is missing, in batches that do not depend on it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.schema import Generation
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Backend, GeneratedText, Request, Sampling
from stages.lib.generations.store import Store
from tests.conftest import engine_config
from tests.lib.generations.test_store import names

CONFIG = engine_config(max_model_len=32, batch_size=2)
SAMPLING = Sampling(temperature=0.7, top_p=1.0, seed=1)


class FakeEngine:
    """Generates a request's problem and seed; may die after some batches."""

    def __init__(self, batches: int = 1_000, *, backwards: bool = False) -> None:
        self.generated: list[tuple[str, int]] = []
        self.batches = batches
        self.backwards = backwards

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        numbers = range(len(batches))
        for number in reversed(numbers) if self.backwards else numbers:
            if not self.batches:
                raise KeyboardInterrupt
            self.batches -= 1
            batch = batches[number]
            self.generated += [(request.problem_id, request.index) for request in batch]
            texts = [f"{request.problem_id} {request.seed(sampling)}" for request in batch]
            on_progress(len(batch))
            yield number, [GeneratedText(text, "stop", 1) for text in texts]


def requests(k: int, prompt: tuple[int, ...] = (1, 2)) -> list[Request]:
    return [Request(p, "cot", 4, index, prompt, 8) for index in range(k) for p in "abc"]


def run(
    folder: Path, missing: Sequence[Request], engine: FakeEngine | None, **changes: Any
) -> None:
    def load() -> Backend:
        assert engine, "an engine was loaded"
        return engine

    arguments = {"sampling": SAMPLING, "settings": CONFIG} | changes
    generate_missing(Store(folder), missing, model="m", load=load, desc="test", **arguments)


def test_more_samples_add_only_the_missing_ones(tmp_path: Path) -> None:
    run(tmp_path, requests(2), FakeEngine())
    engine = FakeEngine()
    run(tmp_path, requests(4), engine)
    assert engine.generated == [(p, index) for index in (2, 3) for p in "abc"]
    assert len(list(Store(tmp_path).rows())) == 12


def test_nothing_missing_loads_no_engine(tmp_path: Path) -> None:
    run(tmp_path, requests(1), FakeEngine())
    run(tmp_path, requests(1), None)


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "whole", requests(3), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", requests(3), FakeEngine(batches=2))
    engine = FakeEngine()
    run(tmp_path / "killed", requests(3), engine)
    assert len(engine.generated) == 9 - 2 * CONFIG.batch_size
    assert names(tmp_path / "whole") == names(tmp_path / "killed")


def test_batches_in_another_order_end_with_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "ordered", requests(3), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "not", requests(3), FakeEngine(batches=2, backwards=True))
    kept = {(row.problem_id, row.index) for row in Store(tmp_path / "not").rows()}
    assert kept == {("c", 2), ("a", 2), ("b", 2)}
    run(tmp_path / "not", requests(3), FakeEngine(backwards=True))
    assert names(tmp_path / "ordered") == names(tmp_path / "not")


ROLLING = engine_config(max_model_len=32, batch_size=2, queue="rolling")


def by_problem(k: int) -> list[Request]:
    """Return requests as ``requests`` does, but with a prompt for each problem."""
    return [replace(request, prompt=(ord(request.problem_id),)) for request in requests(k)]


def test_in_a_rolling_queue_the_samples_of_a_prompt_follow_each_other(tmp_path: Path) -> None:
    engine, in_order = FakeEngine(), FakeEngine()
    run(tmp_path / "rolling", by_problem(3), engine, settings=ROLLING)
    assert engine.generated == [(p, index) for p in "abc" for index in range(3)]
    run(tmp_path / "batch", by_problem(3), in_order)
    assert in_order.generated == [(p, index) for index in range(3) for p in "abc"]
    # The store has the order of the requests either way.
    assert names(tmp_path / "rolling") == names(tmp_path / "batch")


def test_a_rolling_run_is_resumed_from_whichever_batches_it_stored(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, by_problem(3), FakeEngine(batches=2, backwards=True), settings=ROLLING)
    kept = {(row.problem_id, row.index) for row in Store(tmp_path).rows()}
    assert kept == {("c", 2), ("c", 1), ("c", 0)}
    engine = FakeEngine()
    run(tmp_path, by_problem(4), engine, settings=ROLLING)
    expected = {(p, index) for p in "abc" for index in range(4)} - kept
    assert set(engine.generated) == expected
    assert len(engine.generated) == len(expected)


def once_more(rows: Sequence[Generation]) -> list[Request]:
    """Ask for the next sample after those with an odd seed, up to six in all."""
    return [
        Request(row.problem_id, "cot", 4, row.index + 1, (1, 2), 8)
        for row in rows
        if int(row.text.split()[1]) % 2 and row.index < 5
    ]


def test_rounds_follow_from_the_rows_of_the_one_before(tmp_path: Path) -> None:
    engine = FakeEngine()
    run(tmp_path, requests(1), engine, next_round=once_more)
    rows = list(Store(tmp_path).rows())
    assert [(row.problem_id, row.index) for row in rows] == engine.generated
    followed = {(row.problem_id, row.index) for row in rows if row.index}
    assert followed == {(request.problem_id, request.index) for request in once_more(rows)}
    assert 0 < len(followed) < 15


@pytest.mark.parametrize("batches", range(1, 5))
def test_a_run_killed_in_any_round_ends_with_the_same_bytes(tmp_path: Path, batches: int) -> None:
    run(tmp_path / "whole", requests(1), FakeEngine(), next_round=once_more)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", requests(1), FakeEngine(batches), next_round=once_more)
    run(tmp_path / "killed", requests(1), FakeEngine(), next_round=once_more)
    assert names(tmp_path / "whole") == names(tmp_path / "killed")
    run(tmp_path / "killed", requests(1), None, next_round=once_more)
    assert names(tmp_path / "whole") == names(tmp_path / "killed")


@pytest.mark.parametrize(
    ("sampling", "prompt"),
    [
        (Sampling(temperature=0.8, top_p=1.0, seed=1), (1, 2)),
        (Sampling(temperature=0.7, top_p=1.0, seed=2), (1, 2)),
        (SAMPLING, (1, 3)),
    ],
)
def test_other_settings_or_prompts_are_other_generations(
    tmp_path: Path, sampling: Sampling, prompt: tuple[int, int]
) -> None:
    run(tmp_path, requests(1), FakeEngine())
    engine = FakeEngine()
    run(tmp_path, requests(1, prompt), engine, sampling=sampling)
    assert len(engine.generated) == 3
    assert len(list(Store(tmp_path).rows())) == 3


def test_every_generation_has_its_own_seed(tmp_path: Path) -> None:
    run(tmp_path, requests(2), FakeEngine())
    assert len({row.text.split()[1] for row in Store(tmp_path).rows()}) == 6


def test_a_prompt_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine.max_model_len: 32: problem a needs 38"):
        run(tmp_path, requests(1, tuple(range(30))), None)
