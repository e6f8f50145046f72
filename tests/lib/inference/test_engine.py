"""The engine: its kernels for CPUs, and texts that depend on their own request alone."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from stages.lib.core.schema import Generation
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference.queue import BatchQueue, run_batches
from tests.conftest import engine_config

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

pytestmark = pytest.mark.xdist_group("engines")


def test_norms_run_in_the_kernels_for_cpus() -> None:
    from vllm import ir
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("vLLM's build for CUDA has none of these kernels")
    from stages.lib.inference.cpu_kernels import PRIORITY

    current_platform.import_kernels()
    x, residual = torch.randn(2, 5, 64, generator=torch.manual_seed(0)).bfloat16().unbind()
    weight = torch.rand(64).bfloat16()
    (provider,) = PRIORITY["rms_norm"]
    for name, tensors in (("rms_norm", (x,)), ("fused_add_rms_norm", (x, residual))):
        operation = getattr(ir.ops, name)
        expected = operation.impls["native"].impl_fn(*tensors, weight, 1e-5)
        # Copies: the kernel may write into its input.
        copies = [tensor.clone() for tensor in tensors]
        result = operation.impls[provider].impl_fn(*copies, weight, 1e-5)
        torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-2)


def test_a_text_does_not_depend_on_the_other_requests(tiny_engine: "Engine") -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=3)
    requests = [Request("p", "cot", 0, index, (5, 6, 7 + index % 3), 8) for index in range(12)]
    together, backwards = (
        tiny_engine.generate(batch, sampling, lambda _: None)
        for batch in (requests, requests[::-1])
    )
    assert together == backwards[::-1]
    assert together[4:6] == tiny_engine.generate(requests[4:6], sampling, lambda _: None)
    assert len({generated.text for generated in together}) == 12


class Rolling:
    """The tiny engine with a queue of a limit: what ``engine.queue: rolling`` makes of it."""

    def __init__(self, engine: "Engine", limit: int) -> None:
        self.queue = BatchQueue(engine, limit)
        self.together = 0

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        for finished in run_batches(self.queue, batches, sampling, on_progress):
            self.together = max(self.together, len(self.queue) + 1)
            yield finished


class FullDisk(Store):
    """Has room for two shards."""

    def append(self, rows: Sequence[Generation]) -> None:
        if len(list(self.folder.glob("*.parquet"))) == 2:
            raise OSError("no space left")
        super().append(rows)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_rolling_queue_stores_what_batches_do_also_when_resumed(
    tmp_path: Path, tiny_engine: "Engine", temperature: float
) -> None:
    # A model as small as this rounds the same whatever else runs; see the test above.
    requests = [
        Request(f"p{i % 10}", "cot", 0, i // 10, (5, i % 10, 7), 4 + 11 * i % 40) for i in range(60)
    ]
    rolling = Rolling(tiny_engine, limit=20)

    def complete(store: Store, backend: "Engine | Rolling", queue: str) -> list[str]:
        generate_missing(
            store,
            requests,
            model="m",
            sampling=Sampling(temperature, top_p=1.0, seed=3),
            settings=engine_config(batch_size=8, queue=queue),
            load=lambda: backend,
            desc="test",
        )
        return sorted(shard.name for shard in store.folder.iterdir())

    expected = complete(Store(tmp_path / "batch"), tiny_engine, "batch")
    assert complete(Store(tmp_path / "rolling"), rolling, "rolling") == expected
    assert rolling.together > 1
    with pytest.raises(OSError, match="no space left"):
        complete(FullDisk(tmp_path / "killed"), rolling, "rolling")
    assert complete(Store(tmp_path / "killed"), rolling, "rolling") == expected


def test_a_cpu_has_no_batch_invariant_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.lib.inference.engine import Engine

    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    with pytest.raises(ValueError, match=r"^engine\.batch_invariant: true: expected false on this"):
        Engine(tmp_path / "not-read", engine_config(batch_invariant=True))


@pytest.mark.parametrize(
    ("cuda", "bits", "usage", "quantization"),
    [
        (False, 4, "ENGINE_CONTEXT", None),
        (True, 4, "LLM_CLASS", None),
        (True, 3, "LLM_CLASS", "humming"),
    ],
)
def test_on_a_gpu_vllm_has_the_limits_of_batch_inference_and_is_told_of_rare_widths(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cuda: bool,
    bits: int,
    usage: str,
    quantization: str | None,
) -> None:
    from stages.lib.inference import engine

    grid = {"quant_method": "gptq", "sym": True, "desc_act": False, "group_size": 32}
    config = {"model_type": "llama", "quantization_config": grid | {"bits": bits}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    started: list[tuple[Any, Any]] = []

    def start(args: Any, usage_context: Any) -> Any:
        started.append((args, usage_context))
        scheduler = SimpleNamespace(max_num_seqs=1024)
        return SimpleNamespace(vllm_config=SimpleNamespace(scheduler_config=scheduler))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(engine, "LLMEngine", SimpleNamespace(from_engine_args=start))
    rolling = engine_config(queue="rolling", max_num_seqs=None, batch_size=256)
    queue = engine.Engine(tmp_path, rolling).queue
    ((args, context),) = started
    assert (context.name, args.quantization, args.max_num_seqs) == (usage, quantization, None)
    assert args.enforce_eager != cuda
    queue._unfinished = {0: set(range(1024 + 255))}
    assert queue.has_room
    queue._unfinished = {0: set(range(1024 + 256))}
    assert not queue.has_room
