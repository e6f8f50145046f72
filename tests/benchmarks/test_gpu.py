"""The benchmarks of a GPU: their logic, on tiny shapes without one."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import (
    attention,
    evaluate,
    exact,
    head,
    train_1b,
    train_7b,
    vllm_queue,
    which_kernels,
)
from benchmarks.gpu.common import Result, peak_flops, random_examples, random_model
from benchmarks.gpu.training import run_training
from stages.lib.generations.requests import Sampling
from stages.lib.provenance.catalog import Shape
from stages.lib.training import varlen
from tests.lib.training.test_varlen import per_example

TINY = Shape(2, 64, 128, 2, 1, 32, 300, tied=True)
# On this machine no criterion of a GPU can be met, but all figures are there.
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has the real sizes")


def test_a_random_model_has_the_parameters_of_its_shape_in_bf16() -> None:
    shape = Shape(2, 64, 128, 2, 1, 32, 300, tied=False, qkv_bias=True)
    model = random_model(shape)
    assert sum(param.numel() for param in model.parameters()) == shape.parameters()
    assert {param.dtype for param in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_random_examples_have_as_many_tokens_as_asked() -> None:
    data = random_examples(TINY, 1000, longest=40)
    assert 1000 <= sum(data.lengths) < 1040
    for index, (length, supervised) in enumerate(zip(data.lengths, data.supervised, strict=True)):
        tokens = data[index]
        assert (len(tokens), tokens.supervised) == (length, supervised)
        assert supervised == int(0.6 * length)


def test_a_training_fills_its_rows() -> None:
    data = random_examples(TINY, 4000, longest=40)
    run = run_training(TINY, random_model(TINY), data, steps=3, row_tokens=256, rows=2)
    assert len(run.losses) == 3
    assert run.plan.per_step == 2
    assert 0.8 * 512 < run.tokens_per_step <= 512
    # Six for each of the blocks' weights, and those of the output layer and of attention.
    assert 6 * TINY.linear_parameters() * run.tokens_per_step < run.flops_per_step


def test_the_peak_of_a_gpu_is_known_by_its_name() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA L4") is None


@pytest.mark.parametrize(
    ("chosen", "names", "passed"),
    [
        ("varlen", ["flash_fwd_kernel", "gemm"], True),
        ("flash_attention_2", ["flash_bwd_kernel"], True),
        ("sdpa", ["flash_fwd_kernel"], False),
        ("varlen", ["gemm"], False),
        ("varlen", ["flash_fwd_kernel", "at::index_put_kernel"], False),
        ("varlen", ["flash_fwd_kernel", "softmax_warp_forward"], False),
    ],
)
def test_kernels_are_judged_by_their_names(chosen: str, names: list[str], passed: bool) -> None:
    assert which_kernels.judge(chosen, names).passed == passed


def test_the_kernels_of_the_training_path_are_recorded() -> None:
    result = which_kernels.measure(TINY, row_tokens=200, longest=40)
    # The attention of a CPU.
    assert (result.figures["attention"], result.passed) == ("per_example", False)
    assert result.figures["kernels"] > 20


def test_three_ways_of_attention_are_timed_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", per_example)
    monkeypatch.setattr(attention, "REPEATS", 1)
    result = attention.measure(rows=(96, 128), example=40)
    assert set(result.figures["ms"]) == {"96", "128"}
    assert set(result.figures["ms"]["96"]) == {"varlen", "masked", "padded"}
    assert 0 < result.figures["largest_error"] <= attention.ERROR


def test_the_fused_head_has_the_loss_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "REPEATS", 1)
    result = head.measure(supervised=50, hidden=128, vocabulary=300)
    loss = result.figures["loss"]
    assert loss["fused"] == pytest.approx(loss["plain"], rel=1e-2)


@pytest.mark.parametrize(
    ("rate", "mfu", "gib", "passed"),
    [
        (9_000, 0.36, 72.0, True),
        (8_999, 0.36, 72.0, False),
        (9_000, 0.35, 72.0, False),
        (9_000, 0.36, 72.1, False),
        (9_000, None, 72.0, False),
        (9_000, 0.36, None, False),
    ],
)
def test_training_is_judged_by_rate_share_and_memory(
    rate: float, mfu: float | None, gib: float | None, passed: bool
) -> None:
    assert train_7b.judge(rate, mfu, gib, []).passed == passed


def test_our_trainer_and_that_of_trl_train_on_the_same_examples() -> None:
    sizes: dict[str, Any] = {"shape": TINY, "row_tokens": 256, "longest": 40, "steps": 3}
    assert train_1b.measure_ours(compiles=False, **sizes)["rate"] > 0
    assert train_1b.measure_trl(**sizes)["rate"] > 0
    assert train_1b.judge({"ours": 1.0, "compiled": 3.0, "trl": 2.0}).passed
    assert not train_1b.judge({"ours": 2.0, "compiled": 1.0, "trl": 2.0}).passed


def test_rows_and_a_stop_leave_the_training_as_it_is() -> None:
    result = exact.measure(TINY, steps=6, tokens=512, longest=40)
    rows = result.figures["rows"]
    assert rows[0] == 1
    assert rows[1] >= 4
    assert result.figures["resumed_equal"]
    assert result.figures["largest_difference"] < 0.05


def test_requests_share_prompts_and_have_lengths_of_their_own() -> None:
    requests = vllm_queue.make_requests(40, 300, mean=10)
    assert len({request.prompt for request in requests}) == 40 // vllm_queue.SAMPLES
    assert len({request.max_tokens for request in requests}) > 5
    assert all(request.ignore_eos for request in requests)
    keys = {request.seed(Sampling(0.7, 1.0, 1)) for request in requests}
    assert len(keys) == 40


def test_a_saved_random_model_generates_all_tokens_and_is_scored(tmp_path: Path) -> None:
    vllm_queue.save_model(TINY, tmp_path / "bf16")
    requests = vllm_queue.make_requests(12, TINY.vocabulary, mean=5)
    # Without a limit of its own, as vLLM's for a CPU.
    config = vllm_queue.engine_config("rolling", kv_cache_gib=1)
    result = vllm_queue.measure_way(tmp_path / "bf16", requests, config)
    assert result.figures["tokens"] == sum(request.max_tokens for request in requests)
    assert result.figures["rate"] > 0
    scored = evaluate.score(tmp_path / "bf16", tokens=500, longest=40)
    assert scored.figures["rate"] > 0


@pytest.mark.parametrize(
    ("kernels", "rate", "passed"),
    [
        (["MarlinLinearKernel"], 30_000, True),
        (["MarlinLinearKernel"], 29_999, False),
        (["ExllamaLinearKernel"], 30_000, False),
        ([], 30_000, False),
    ],
)
def test_evaluation_is_judged_by_kernels_and_rate(
    kernels: list[str], rate: int, passed: bool
) -> None:
    plain = {"generate": {"rate": 1.0, "kernels": []}, "score": {"rate": 40_000}}
    packed = {"generate": {"rate": 1.0, "kernels": kernels}, "score": {"rate": rate}}
    assert evaluate.judge({"bf16": plain, "gptq4": packed}).passed == passed
    assert vllm_queue.judge({"batch": 1.0, "rolling": rate, "invariant": 1.0}).passed


def answer(*_: Any, stdout: str = "", stderr: str = "", code: int = 0, **__: Any) -> Any:
    return subprocess.CompletedProcess([], code, stdout, stderr)


def test_a_failed_or_skipped_benchmark_is_recorded_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = json.dumps(vars(Result("head", "c", passed=True, figures={"ms": 1})))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer(stdout=f"noise\n{line}\n"))
    assert command.run("head") == json.loads(line)
    failed = answer(stderr="Traceback\nRuntimeError: out of memory\n", code=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert command.run("head")["error"] == "RuntimeError: out of memory"
    assert not command.run("head")["passed"]
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    assert command.run("train_7b")["skipped"] == "trl, torchao: not installed"


def test_without_a_gpu_the_command_says_so_in_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: no GPU: expected one"):
        command.main([])
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: 'heads': expected some of which_"):
        command.main(["heads"])


def test_the_record_is_named_for_the_device() -> None:
    assert command.record("NVIDIA H100 80GB HBM3") == Path(
        "reports/benchmarks/gpu-nvidia-h100-80gb-hbm3.json"
    )
