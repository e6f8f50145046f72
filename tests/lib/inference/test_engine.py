"""Filling a store: only what is missing, in batches that do not depend on it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from stages.lib.core.schema import Generation
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference.engine import Engine
from stages.lib.params.sampling import EngineConfig as Settings

LIMITS = Settings(
    backend="local",
    engines=1,
    tensor_parallel=1,
    cpus=1,
    kv_cache_gib=1,
    max_model_len=32,
    max_num_seqs=4,
    block_size=16,
    batch_size=2,
)
SAMPLING = Sampling(temperature=0.7, top_p=1.0, seed=1)


class FakeEngine:
    """Answers with what it was asked and its seed; may die after some batches."""

    answers = Engine.answers

    def __init__(self, batches: int = 1_000) -> None:
        self.asked: list[tuple[str, int]] = []
        self.batches = batches

    def answer(
        self, requests: Sequence[Request], sampling: Sampling, done: Callable[[int], object]
    ) -> list[tuple[str, str, int]]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        self.asked += [(one.problem_id, one.index) for one in requests]
        return [(f"{one.problem_id} {one.seed(sampling)}", "stop", 1) for one in requests]


class Unordered(FakeEngine):
    """Finishes the last batch first."""

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        for number in reversed(range(len(batches))):
            yield number, self.answer(batches[number], sampling, done)


def requests(k: int, prompt: tuple[int, ...] = (1, 2)) -> list[Request]:
    return [Request(p, "cot", 4, index, prompt, 8) for index in range(k) for p in "abc"]


def run(folder: Path, wanted: Sequence[Request], engine: FakeEngine, **changes: Any) -> None:
    generate_missing(
        Store(folder),
        wanted,
        model="m",
        sampling=changes.get("sampling", SAMPLING),
        settings=LIMITS,
        load=lambda: cast(Engine, engine),
        doing="test",
        more=changes.get("more"),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_more_samples_add_only_the_missing_ones(tmp_path: Path) -> None:
    run(tmp_path, requests(2), FakeEngine())
    later = FakeEngine()
    run(tmp_path, requests(4), later)
    assert later.asked == [(p, index) for index in (2, 3) for p in "abc"]
    assert len(list(Store(tmp_path).rows())) == 12


def test_nothing_missing_loads_no_engine(tmp_path: Path) -> None:
    run(tmp_path, requests(1), FakeEngine())

    def refuse() -> Engine:
        raise AssertionError("the engine was loaded")

    generate_missing(
        Store(tmp_path),
        requests(1),
        model="m",
        sampling=SAMPLING,
        settings=LIMITS,
        load=refuse,
        doing="test",
    )


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "whole", requests(3), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", requests(3), FakeEngine(batches=2))
    rest = FakeEngine()
    run(tmp_path / "killed", requests(3), rest)
    assert len(rest.asked) == 9 - 2 * LIMITS.batch_size
    assert names(tmp_path / "whole") == names(tmp_path / "killed")


def test_batches_in_another_order_end_with_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "ordered", requests(3), FakeEngine())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "not", requests(3), Unordered(batches=2))
    kept = {(row.problem_id, row.index) for row in Store(tmp_path / "not").rows()}
    assert kept == {("c", 2), ("a", 2), ("b", 2)}
    run(tmp_path / "not", requests(3), Unordered())
    assert names(tmp_path / "ordered") == names(tmp_path / "not")


def once_more(rows: Sequence[Generation]) -> list[Request]:
    """Ask for the next sample of those with an odd seed, up to six in all."""
    return [
        Request(row.problem_id, "cot", 4, row.index + 1, (1, 2), 8)
        for row in rows
        if int(row.text.split()[1]) % 2 and row.index < 5
    ]


def test_rounds_follow_from_the_rows_of_the_one_before(tmp_path: Path) -> None:
    engine = FakeEngine()
    run(tmp_path, requests(1), engine, more=once_more)
    rows = list(Store(tmp_path).rows())
    assert [(row.problem_id, row.index) for row in rows] == engine.asked
    followed = {(row.problem_id, row.index) for row in rows if row.index}
    assert followed == {(one.problem_id, one.index) for one in once_more(rows)}
    assert 0 < len(followed) < 15


@pytest.mark.parametrize("batches", range(1, 5))
def test_a_run_killed_in_any_round_ends_with_the_same_bytes(tmp_path: Path, batches: int) -> None:
    run(tmp_path / "whole", requests(1), FakeEngine(), more=once_more)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", requests(1), FakeEngine(batches), more=once_more)
    run(tmp_path / "killed", requests(1), FakeEngine(), more=once_more)
    assert names(tmp_path / "whole") == names(tmp_path / "killed")
    again = FakeEngine(batches=0)
    run(tmp_path / "killed", requests(1), again, more=once_more)
    assert names(tmp_path / "whole") == names(tmp_path / "killed")


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(temperature=0.8, top_p=1.0, seed=1)},
        {"sampling": Sampling(temperature=0.7, top_p=1.0, seed=2)},
        {"prompt": (1, 3)},
    ],
)
def test_other_settings_or_prompts_are_other_generations(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    run(tmp_path, requests(1), FakeEngine())
    again = FakeEngine()
    run(tmp_path, requests(1, change.pop("prompt", (1, 2))), again, **change)
    assert len(again.asked) == 3
    assert len(list(Store(tmp_path).rows())) == 3


def test_every_generation_has_its_own_seed(tmp_path: Path) -> None:
    run(tmp_path, requests(2), FakeEngine())
    seeds = {row.text.split()[1] for row in Store(tmp_path).rows()}
    assert len(seeds) == 6


def test_a_prompt_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine.max_model_len: 32: problem a needs 38"):
        run(tmp_path, requests(1, tuple(range(30))), FakeEngine())


def test_norms_run_in_the_kernels_for_cpus() -> None:
    from vllm import ir
    from vllm.platforms import current_platform

    from stages.lib.inference.cpu_kernels import PRIORITY

    current_platform.import_kernels()
    x, residual = torch.randn(2, 5, 64, generator=torch.manual_seed(0)).bfloat16().unbind()
    weight = torch.rand(64).bfloat16()
    (provider,) = PRIORITY["rms_norm"]
    for name, given in (("rms_norm", (x,)), ("fused_add_rms_norm", (x, residual))):
        operation = getattr(ir.ops, name)
        expected = operation.impls["native"].impl_fn(*given, weight, 1e-5)
        found = operation.impls[provider].impl_fn(*(each.clone() for each in given), weight, 1e-5)
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)
