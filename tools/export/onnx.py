"""Models for CPUs without PyTorch: ONNX, as ONNX Runtime GenAI loads it.

The converter is that package's own model builder. It runs as a process of its own, since
it puts modules with everyday names on the import path and keeps the whole model in memory.
Whole weights are written as they are (``fp32``: bf16 has its place in it) or rounded to
the nearest in groups of 32 with a scale each (``int8``, ``int4``), activations to 8 bits.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoConfig

from stages.lib.core.files import atomic_replace
from stages.lib.models.fingerprint import model_fingerprint

BITS = {"fp32": 32, "int8": 8, "int4": 4}
"""The bits of a weight, by precision."""

CONFIG = "genai_config.json"
GRAPH = "model.onnx"


def check(model: Path, precision: str) -> None:
    """Raise ValueError or FileNotFoundError if a model folder cannot be exported so.

    A quantized model is refused: its weights would be rounded a second time, in other
    groups, and what GPTQ had made good by the first rounding would be lost.
    """
    if precision not in BITS:
        raise ValueError(f"precision: {precision!r}: expected one of {list(BITS)}")
    model_fingerprint(model)
    if getattr(AutoConfig.from_pretrained(model), "quantization_config", None) is not None:
        raise ValueError(
            f"{model}: quantized already: expected the model that it was made from, "
            "which the export rounds once"
        )


def export(model: Path, out: Path, precision: str) -> None:
    """Write the model of a folder as ONNX to ``out``, whole or not at all.

    Raises ValueError with the builder's last words if it does not know the architecture.
    """
    check(model, precision)
    with TemporaryDirectory() as cache, atomic_replace(out) as aside:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        places = ["-i", str(model), "-o", str(aside), "-c", cache]
        built = subprocess.run(
            [*command, *places, "-p", precision, "-e", "cpu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(built.stdout)  # noqa: T201 - into the log
        if built.returncode:
            said = built.stdout.strip().splitlines() or ["nothing said"]
            raise ValueError(f"{model}: not exported: {said[-1]}")


def exported_bytes(folder: Path) -> int:
    """Return the size of an exported model's graph and weights in bytes."""
    return sum(path.stat().st_size for path in complete(folder).glob(f"{GRAPH}*"))


def complete(folder: Path) -> Path:
    """Return the folder. Raises FileNotFoundError if it holds no exported model."""
    for name in (CONFIG, GRAPH):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder}: no exported model here (expected {CONFIG} and {GRAPH}, "
                "which `make export` writes)"
            )
    return folder
