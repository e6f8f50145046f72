"""Convert models to ONNX for ONNX Runtime GenAI, which runs them on CPUs without PyTorch.

The converter is that package's own model builder. It runs in a process of its own, since it
puts modules with everyday names on the import path and keeps the whole model in memory.
Weights are written in ``fp32``, which holds bf16 exactly, or rounded to nearest in groups of 32
with a scale each (``int8``, ``int4``), with activations in 8 bits.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoConfig

from stages.lib.core.files import atomic_replace
from stages.lib.models.folder import existing_model

# Bits of a weight, by precision.
BITS = {"fp32": 32, "int8": 8, "int4": 4}

CONFIG = "genai_config.json"
GRAPH = "model.onnx"


def check_exportable(model: Path, precision: str) -> None:
    """Raise ValueError or FileNotFoundError if a model folder cannot be exported.

    A quantized model is refused: its weights would be rounded a second time, in other
    groups, and GPTQ's corrections for the first rounding would be lost.
    """
    if precision not in BITS:
        raise ValueError(f"precision: {precision!r}: expected one of {list(BITS)}")
    config = AutoConfig.from_pretrained(existing_model(model))
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(
            f"{model}: quantized already: expected the model that it was made from, "
            "which the export rounds only once"
        )


def export(model: Path, out: Path, precision: str) -> None:
    """Write the model of a folder as ONNX to ``out``, whole or not at all.

    Call ``check_exportable`` first. Raises ValueError with the builder's last line of output
    if it fails, as it does for an unknown architecture.
    """
    with TemporaryDirectory() as cache, atomic_replace(out) as tmp:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        folders = ["-i", str(model), "-o", str(tmp), "-c", cache]
        built = subprocess.run(
            [*command, *folders, "-p", precision, "-e", "cpu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(built.stdout)  # noqa: T201 - into the log
        if built.returncode:
            output = built.stdout.strip().splitlines() or ["no output"]
            raise ValueError(f"{model}: not exported: {output[-1]}")


def exported_bytes(folder: Path) -> int:
    """Return the size of an exported model's graph and weights in bytes."""
    return sum(path.stat().st_size for path in existing_export(folder).glob(f"{GRAPH}*"))


def existing_export(folder: Path) -> Path:
    """Return a folder that holds an exported model. Raises FileNotFoundError if it does not."""
    for name in (CONFIG, GRAPH):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder}: no exported model here (expected {CONFIG} and {GRAPH}, "
                "which `make export` writes)"
            )
    return folder
