"""Quantize the model of an arm, or a GRPO one.

Reads the parent's model and, for GPTQ, what it is calibrated on: the parent's training
examples as often as it repeats them, those of hard problems more often if asked, or text of
another kind. Writes
``data/models/<name>/`` for the entry ``quantize.models.<name>``.

    python -m stages.quantize NAME
"""

import numpy as np

from stages.lib.core.paths import DIFFICULTY, MODELS, TRAINING
from stages.lib.core.schema import Difficulty, Example
from stages.lib.core.tables import read_parquet
from stages.lib.data import packaged
from stages.lib.models import loading
from stages.lib.models.bitsandbytes import int8, nf4
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Gptq, Rtn
from stages.lib.params.root import Params
from stages.lib.prompts import tokenize
from stages.lib.quantization import bitsandbytes, calibration, gptq
from stages.lib.runtime import console


def main(name: str) -> None:
    """Quantize a model."""
    wanted = load_params()
    settings = wanted.quantize
    if name not in settings.models:
        raise ValueError(f"quantize.models: {name!r}: expected one of {list(settings.models)}")
    made = settings.models[name]
    parent, out = MODELS / made.parent, MODELS / name
    model_fingerprint(parent)  # which refuses damaged weights
    if not isinstance(made, Gptq | Rtn):
        bitsandbytes.quantize_bitsandbytes(parent, out, nf4() if made.method == "nf4" else int8())
        return
    gptq.check_group_size(parent, settings.group_size)
    texts = calibration_texts(made, wanted) if isinstance(made, Gptq) else None
    layers = gptq.layer_count(parent)
    with console.progress_bar(total=layers, doing=f"quantize {name}", unit="layer") as progress:
        gptq.quantize_gptq_or_rtn(
            parent, out, bits=made.bits, settings=settings, calibration=texts, done=progress.update
        )


def calibration_texts(made: Gptq, wanted: Params) -> list[list[int]]:
    """Return what a model is calibrated on, as token ids."""
    tokenizer = loading.load_tokenizer(MODELS / made.parent)
    settings = wanted.quantize.calibration
    rng = np.random.default_rng([wanted.quantize.seed, made.calibration_seed])
    if made.calibrate_on == "text":
        texts = packaged.passages()
        chosen = rng.permutation(len(texts))[: settings.examples]
        found = [tokenizer(texts[i], add_special_tokens=False)["input_ids"] for i in chosen]
    else:
        examples = read_parquet(TRAINING / f"{made.parent}.parquet", Example)
        rates = None
        if made.calibrate_on == "difficulty":
            table = read_parquet(DIFFICULTY, Difficulty)
            rates = {row.problem_id: row.posterior_mean for row in table}
        drawn = calibration.sample_calibration(examples, settings.examples, rng, rates)
        tokens = [tokenize.tokenize_any_length(one, tokenizer, wanted.prompts) for one in drawn]
        found = [one.ids for one in tokens]
    return [ids[: settings.max_length] for ids in found]


if __name__ == "__main__":
    console.run_stage("quantize", main, item="name")
