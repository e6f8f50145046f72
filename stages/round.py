"""Round the weights of a model to 8 bits or fewer, without any text.

Reads the model that ``quantize.rounded.<name>`` names as its parent. Writes
``data/models/<name>/``.

    python -m stages.round NAME
"""

from stages.lib.core.paths import MODELS
from stages.lib.models.bitsandbytes import int8, nf4
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Rtn
from stages.lib.quantization.bitsandbytes import quantize_bitsandbytes
from stages.lib.quantization.gptq import check_group_size, layer_count, quantize_gptq_or_rtn
from stages.lib.runtime import console


def main(name: str) -> None:
    """Round a model."""
    quantize = load_params().quantize
    if name not in quantize.rounded:
        raise ValueError(f"quantize.rounded: {name!r}: expected one of {list(quantize.rounded)}")
    spec = quantize.rounded[name]
    parent, out = MODELS / spec.parent, MODELS / name
    model_fingerprint(parent)  # raises an error if the weights are damaged
    if not isinstance(spec, Rtn):
        quantize_bitsandbytes(parent, out, nf4() if spec.method == "nf4" else int8())
        return
    check_group_size(parent, quantize.group_size)
    with console.progress_bar(
        total=layer_count(parent), desc=f"round {name}", unit="layer"
    ) as progress:
        quantize_gptq_or_rtn(
            parent,
            out,
            bits=spec.bits,
            settings=quantize,
            calibration=None,
            on_progress=progress.update,
        )


if __name__ == "__main__":
    console.run_stage("round", main, item="name")
