"""Run the benchmarks that need a GPU, and write what they measured.

Each runs in a process of its own. One that ends in an error is recorded with its last line; one
whose packages are missing is skipped, and the record says so. Writes
``reports/benchmarks/gpu-DEVICE.json``. Exits with status 1 if a criterion is not met.

    python -m benchmarks.gpu [NAME ...]
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from stages.lib.core.files import write_json
from stages.lib.core.paths import REPORTS

# What each needs beside PyTorch and transformers.
NEEDS = {
    "which_kernels": (),
    "attention": (),
    "head": ("trl",),
    "train_7b": ("trl", "torchao"),
    "train_1b": ("trl",),
    "exact": ("trl",),
    "vllm_queue": ("vllm",),
    "evaluate": ("vllm", "gptqmodel"),
}


def run(name: str) -> dict[str, Any]:
    """Run a benchmark and return its result, or why there is none."""
    missing = [package for package in NEEDS[name] if find_spec(package) is None]
    if missing:
        return {"name": name, "skipped": f"{', '.join(missing)}: not installed"}
    process = subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{name}"], capture_output=True, text=True
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith('{"name"')]
    if process.returncode or not lines:
        errors = process.stderr.strip().splitlines() or ["no output"]
        return {"name": name, "passed": False, "error": errors[-1]}
    return json.loads(lines[-1])


def record(device: str) -> Path:
    """Return the file of a device's results."""
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return REPORTS / "benchmarks" / f"gpu-{slug}.json"


def main(names: Sequence[str]) -> None:
    """Run some benchmarks or all, and write the file."""
    unknown = [name for name in names if name not in NEEDS]
    if unknown:
        sys.exit(f"benchmarks.gpu: {unknown[0]!r}: expected some of {', '.join(NEEDS)}")
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: no GPU: expected one that PyTorch can use")
    results = []
    for name in names or NEEDS:
        results.append(run(name))
        print(json.dumps(results[-1]), flush=True)
    device = torch.cuda.get_device_name()
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    write_json(record(device), {"device": device, **versions, "results": results})
    if not all(result.get("passed", True) for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
