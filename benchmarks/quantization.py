"""Seconds of GPTQ at 4 bits: as the ``quantize`` stage does it against GPTQModel called plainly.

Both sides quantize the same model with the same calibration texts and settings, and save it.
The peer has GPTQModel's defaults otherwise, but for the two workers without which it fails on two
cores. Imports and the calibration texts are not counted.

    python -m benchmarks.quantization
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import print_line, run_sides
from stages.lib.core.paths import MODELS, TRAINING
from stages.lib.core.schema import Example
from stages.lib.core.tables import read_parquet
from stages.lib.models.loading import load_tokenizer
from stages.lib.models.precision import compute_dtype
from stages.lib.params.load import load_params
from stages.lib.prompts.tokenize import tokenize

BITS = 4


def calibration() -> list[list[int]]:
    """Return the first training examples of the uniform arm, as token ids."""
    params = load_params()
    tokenizer = load_tokenizer(MODELS / "base")
    settings = params.quantize.calibration
    examples = read_parquet(TRAINING / "uniform.parquet", Example)[: settings.examples]
    texts = [tokenize(example, tokenizer, params.prompts).ids for example in examples]
    return [ids[: settings.max_length] for ids in texts]


def timed(quantize: Callable[[Path], object]) -> dict[str, float]:
    """Time a function that writes the quantized model to a folder."""
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        quantize(Path(folder, "quantized"))
        return {"seconds": time.monotonic() - started}


def measure_ours() -> dict[str, float]:
    """Measure what the stage does."""
    import gptqmodel  # noqa: F401 (so that its import is not counted)

    from stages.lib.quantization.gptq import quantize_gptq_or_rtn

    texts, settings = calibration(), load_params().quantize
    return timed(
        lambda out: quantize_gptq_or_rtn(
            MODELS / "base",
            out,
            bits=BITS,
            settings=settings,
            calibration=texts,
            on_progress=lambda _: None,
        )
    )


def measure_peer() -> dict[str, float]:
    """Measure GPTQModel."""
    os.environ["GPTQMODEL_CPU_WORKERS"] = "2"
    from gptqmodel import GPTQModel, QuantizeConfig

    settings = load_params().quantize
    texts: Any = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in calibration()]
    options: dict[str, Any] = {
        "bits": BITS,
        "group_size": settings.group_size,
        "sym": settings.symmetric,
        "desc_act": settings.desc_act,
        "damp_percent": settings.damping,
    }

    def quantize(out: Path) -> None:
        model = GPTQModel.load(
            str(MODELS / "base"), QuantizeConfig(**options), dtype=compute_dtype()
        )
        model.quantize(texts)
        model.save(str(out))

    return timed(quantize)


def main() -> None:
    """Measure both sides."""
    ours, peer = run_sides("benchmarks.quantization", ours=measure_ours, peer=measure_peer)
    print_line(
        "GPTQ",
        ours=ours["seconds"],
        peer=peer["seconds"],
        unit="s",
        against="GPTQModel with its own defaults",
        better="less",
    )


if __name__ == "__main__":
    main()
