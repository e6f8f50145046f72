"""Seconds of GPTQ: as the ``quantize`` stage does it against GPTQModel called plainly.

Both sides quantize the model of ``quantize.gptq.adaptive-gptq4`` with its calibration texts and
settings, and save it. The peer has GPTQModel's defaults otherwise, but for a worker for each core,
without which it fails on two. Imports and the calibration texts are not counted.

    python -m benchmarks.quantization
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import print_line, run_sides
from stages.lib.core.paths import MODELS
from stages.lib.models.precision import compute_dtype
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Gptq
from stages.lib.quantization.gptq import quantize_gptq_or_rtn
from stages.quantize import calibration_tokens

MODEL = "adaptive-gptq4"


def model_spec() -> Gptq:
    """Return what the model is quantized to."""
    return load_params().quantize.gptq[MODEL]


def timed(quantize: Callable[[Path], object]) -> dict[str, float]:
    """Time a function that writes the quantized model to a folder."""
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        quantize(Path(folder, "quantized"))
        return {"seconds": time.monotonic() - started}


def measure_ours() -> dict[str, float]:
    """Measure what the stage does."""
    import gptqmodel  # noqa: F401 (so that its import is not counted)

    params, spec = load_params(), model_spec()
    texts = calibration_tokens(spec, params)
    return timed(
        lambda out: quantize_gptq_or_rtn(
            MODELS / spec.parent,
            out,
            bits=spec.bits,
            settings=params.quantize,
            calibration=texts,
            on_progress=lambda _: None,
        )
    )


def measure_peer() -> dict[str, float]:
    """Measure GPTQModel."""
    from gptqmodel import GPTQModel, QuantizeConfig

    params, spec = load_params(), model_spec()
    settings = params.quantize
    tokens = calibration_tokens(spec, params)
    texts: Any = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in tokens]
    options: dict[str, Any] = {
        "bits": spec.bits,
        "group_size": settings.group_size,
        "sym": settings.symmetric,
        "desc_act": settings.desc_act,
        "act_group_aware": settings.act_group_aware,
        "damp_percent": settings.damping,
    }

    def quantize(out: Path) -> None:
        model = GPTQModel.load(
            str(MODELS / spec.parent), QuantizeConfig(**options), dtype=compute_dtype()
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
