"""Quantize a model by GPTQ.

Reads the model that ``quantize.gptq.<name>`` names as its parent, and the texts to calibrate on:
training examples, in proportion to their repeats, or those of a column ``text``. Writes
``data/models/<name>/``.

    python -m stages.quantize NAME
"""

from pathlib import Path

import numpy as np

from stages.lib.core.paths import MODELS, TRAINING
from stages.lib.core.schema import Example
from stages.lib.core.tables import read_column, read_parquet
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Gptq
from stages.lib.params.root import Params
from stages.lib.prompts.tokenize import tokenize
from stages.lib.quantization.calibration import sample_calibration
from stages.lib.quantization.gptq import check_group_size, layer_count, quantize_gptq_or_rtn
from stages.lib.runtime import console


def main(name: str) -> None:
    """Quantize a model."""
    params = load_params()
    quantize = params.quantize
    if name not in quantize.gptq:
        raise ValueError(f"quantize.gptq: {name!r}: expected one of {list(quantize.gptq)}")
    spec = quantize.gptq[name]
    parent = MODELS / spec.parent
    model_fingerprint(parent)  # raises an error if the weights are damaged
    check_group_size(parent, quantize.group_size)
    calibration = calibration_tokens(spec, params)
    with console.progress_bar(
        total=layer_count(parent), desc=f"quantize {name}", unit="layer"
    ) as progress:
        quantize_gptq_or_rtn(
            parent,
            MODELS / name,
            bits=spec.bits,
            settings=quantize,
            calibration=calibration,
            on_progress=progress.update,
        )


def calibration_tokens(spec: Gptq, params: Params) -> list[list[int]]:
    """Return the texts that a model is calibrated on, as token ids."""
    settings = params.quantize.calibration
    tokenizer = load_tokenizer(MODELS / spec.parent)
    rng = np.random.default_rng([params.quantize.seed, spec.calibration_seed])
    path = Path(spec.calibrate_on)
    if path.parent == TRAINING:
        examples = sample_calibration(read_parquet(path, Example), settings.examples, rng)
        texts = [tokenize(example, tokenizer, params.prompts).ids for example in examples]
    else:
        passages = read_texts(path)
        chosen = rng.permutation(len(passages))[: settings.examples]
        texts = [tokenizer(passages[i], add_special_tokens=False)["input_ids"] for i in chosen]
    return [ids[: settings.max_length] for ids in texts]


def read_texts(path: Path) -> list[str]:
    """Read the column ``text`` of a Parquet file. Raises ValueError for a row without a text."""
    texts = read_column(path, "text")
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{path}: row {row}: text: {text!r}: expected text")
    return texts


if __name__ == "__main__":
    console.run_stage("quantize", main, item="name")
