"""Check a composition of parameters and estimate what it would cost, without running anything.

Takes overrides as ``dvc exp run -S`` does. Checks the composition against the schema, and its
files, commits and licenses; prints the tokens, GPU memory and disk of every stage, and the command
that brings each missing file. Exits with status 1 if the composition is not valid or needs more
memory than a GPU has.

With ``--here``, also if it cannot run on this machine: for packages, GPUs, a driver or memory that
are missing, and for files that are missing and that the run does not download. Without a GPU, the
memory for a model is the machine's own.

    python -m tools.estimate recipe=grpo size=mini train.steps=20 --gpu-gib 80
    python -m tools.estimate recipe=sdat engine.engines=4 --here
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

from huggingface_hub import constants, get_token

from stages.lib.core.paths import CONF
from stages.lib.costs.forecast import GIB, StageCost, estimate_stages, host_bytes
from stages.lib.costs.table import format_report
from stages.lib.params.compose import compose
from stages.lib.params.data import Model
from stages.lib.params.load import parse_params
from stages.lib.params.model_source import parse_source
from stages.lib.params.root import Params
from stages.lib.provenance.catalog import Shape, find_shape
from stages.lib.provenance.origins import Availability, locate_all
from stages.lib.runtime.machine import Machine, find_lacks, this_machine

DEFAULT_GPU_GIB = 80.0

# What to change if a stage needs more memory than a GPU has, beside the model.
MEMORY_HINTS = {
    "sample": "a smaller model or more engine.tensor_parallel",
    "train": "more train.micro_batches, train.launch or adapters",
    "replay": "more train.micro_batches, train.launch or adapters",
    "grpo": "more grpo.micro_batches or adapters",
    "quantize": "a smaller quantize.calibration",
    "round": "a smaller model",
    "evaluate": "a smaller model or more engine.tensor_parallel",
}


def estimate(overrides: Sequence[str], gpu_gib: float | None, *, here: bool = False) -> list[str]:
    """Check a composition, print what it would cost, and return why it cannot run, a line each.

    ``gpu_gib`` is the memory of each GPU; by default 80, with ``here`` that of this machine.
    Raises ValueError if the composition is not valid.
    """
    params = parse_params(compose(overrides, CONF), where=" ".join(overrides))
    sources = list(locate_all(params.model, params.prepare))
    shapes = _find_shapes(params.model)
    shape = shapes.get("base")
    machine = this_machine() if here else None
    memory = gpu_gib or (DEFAULT_GPU_GIB if machine is None else machine.model_memory_gib())
    costs = estimate_stages(params, shapes, memory) if "base" in shapes else []
    sys.stdout.write(format_report(params, sources, shape, costs) + "\n")
    limit = f"{memory:.4g} ({'this machine' if here and not gpu_gib else '--gpu-gib'})"
    refusals = list(_lacking_gpu_memory(costs, memory, limit))
    if machine is not None:
        refusals += find_lacks(params, machine)
        refusals += _lacking_host_memory(params, shape, machine)
        refusals += _lacking_files(sources)
    return refusals


def _find_shapes(model: Model) -> dict[str, Shape]:
    """Return the shapes of the base model, "base", and of others, where they are known."""
    sources = {"base": model.base, **model.others}
    found = {name: find_shape(parse_source(source)) for name, source in sources.items()}
    return {name: shape for name, shape in found.items() if shape is not None}


def _lacking_gpu_memory(costs: Sequence[StageCost], gpu_gib: float, limit: str) -> Iterator[str]:
    """Yield a line for each stage that needs too much, with its largest item."""
    largest = {cost.stage: cost for cost in sorted(costs, key=lambda cost: cost.gpu_gib)}
    for stage in MEMORY_HINTS:
        if stage in largest and (needed := largest[stage].gpu_gib) > gpu_gib:
            yield (
                f"{stage} {largest[stage].item}: {needed:.1f} GiB of a GPU: expected at most "
                f"{limit}; {MEMORY_HINTS[stage]} would need less"
            )


def _lacking_host_memory(params: Params, shape: Shape | None, machine: Machine) -> Iterator[str]:
    needed = 0.0 if shape is None else host_bytes(params, shape) / GIB
    if needed > machine.memory_gib:
        yield (
            f"model.base: {params.model.base!r}: {needed:.1f} GiB while all processes load it: "
            f"expected at most the {machine.memory_gib:.1f} GiB of this machine's memory; a "
            "smaller model or, with ddp, fewer train.launch.processes would need less"
        )


def _lacking_files(sources: Sequence[Availability]) -> Iterator[str]:
    """Yield what is missing, if the run does not download it by itself."""
    for source in (source for source in sources if not source.available):
        if source.files is None:
            key = f"prepare.benchmarks.{source.name.removeprefix('benchmark ')}.path"
            yield f"{key}: {source.where!r}: no such file; expected from `{source.command}`"
        elif constants.HF_HUB_OFFLINE:
            yield f"{source.name}: {source.where}: not here, and offline; run `{source.command}`"
        elif source.gated and get_token() is None:
            yield (
                f"{source.name}: {source.where}: accept its terms at "
                f"https://huggingface.co/{source.where}, then `hf auth login`"
            )


def main() -> None:
    """Parse the arguments and print the estimate, or each error in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.estimate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="as after dvc exp run -S")
    parser.add_argument("--gpu-gib", type=float, help="memory of each GPU; by default 80")
    parser.add_argument("--here", action="store_true", help="refuse what this machine cannot run")
    arguments = parser.parse_intermixed_args()
    try:
        lines = estimate(arguments.overrides, arguments.gpu_gib, here=arguments.here)
    except (ValueError, OSError) as error:
        lines = [str(error)]
    for line in lines:
        sys.stderr.write(f"estimate: {' '.join(line.split())}\n")
    if lines:
        sys.exit(1)


if __name__ == "__main__":
    main()
