"""Quantize one arm's model with GPTQ.

Reads the parent's model and its training examples (the calibration mix); writes
``data/models/<name>/`` for the entry ``quantize.models.<name>``.

    python -m stages.quantize NAME
"""

import numpy as np

from stages.lib import console, models, packing, params, quantization
from stages.lib.paths import MODELS, TRAINING
from stages.lib.records import Example, read_parquet


def main(name: str) -> None:
    """Quantize a model."""
    wanted = params.load()
    settings = wanted.quantize
    if name not in settings.models:
        raise ValueError(f"quantize.models: {name!r}: expected one of {list(settings.models)}")
    made = settings.models[name]
    parent = MODELS / made.parent
    quantization.check_group_size(parent, settings.group_size)
    tokenizer = models.load_tokenizer(parent)
    table = read_parquet(TRAINING / f"{made.parent}.parquet", Example)
    examples = [example for example in table if example.repeats]
    rng = np.random.default_rng(settings.seed)
    chosen = rng.permutation(len(examples))[: settings.calibration.examples]
    tokens = [
        packing.tokenize(examples[i], tokenizer, wanted.prompts, settings.calibration.max_length)
        for i in chosen
    ]
    layers = quantization.layer_count(parent)
    with console.bar(total=layers, doing=f"quantize {name}", unit="layer") as progress:
        quantization.quantize(
            parent,
            MODELS / name,
            bits=made.bits,
            settings=settings,
            calibration=[one.prompt + one.response for one in tokens],
            done=progress.update,
        )


if __name__ == "__main__":
    console.run("quantize", main, item="name")
