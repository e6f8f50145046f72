"""Quantize a trained model.

Reads the model that ``quantize.models.<name>`` names as its parent and, for GPTQ, the texts to
calibrate on: the parent's training examples, in proportion to their repeats (those of hard
problems more often, if ``calibrate_on: difficulty`` says so), or unrelated passages. Writes
``data/models/<name>/``.

    python -m stages.quantize NAME
"""

from collections.abc import Sequence

import numpy as np

from stages.lib.core.paths import DIFFICULTY, MODELS, PASSAGES, TRAINING
from stages.lib.core.schema import PROMPTINGS, Difficulty, Example, Passage, difficulty_by_problem
from stages.lib.core.tables import read_parquet
from stages.lib.models.bitsandbytes import int8, nf4
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Gptq, Rtn
from stages.lib.params.root import Params
from stages.lib.prompts.tokenize import tokenize
from stages.lib.quantization.bitsandbytes import quantize_bitsandbytes
from stages.lib.quantization.calibration import sample_calibration
from stages.lib.quantization.gptq import check_group_size, layer_count, quantize_gptq_or_rtn
from stages.lib.runtime import console


def main(name: str) -> None:
    """Quantize a model."""
    params = load_params()
    quantize = params.quantize
    if name not in quantize.models:
        raise ValueError(f"quantize.models: {name!r}: expected one of {list(quantize.models)}")
    spec = quantize.models[name]
    parent, out = MODELS / spec.parent, MODELS / name
    model_fingerprint(parent)  # raises an error if the weights are damaged
    if not isinstance(spec, Gptq | Rtn):
        quantize_bitsandbytes(parent, out, nf4() if spec.method == "nf4" else int8())
        return
    check_group_size(parent, quantize.group_size)
    calibration = calibration_tokens(spec, params) if isinstance(spec, Gptq) else None
    with console.progress_bar(
        total=layer_count(parent), desc=f"quantize {name}", unit="layer"
    ) as progress:
        quantize_gptq_or_rtn(
            parent,
            out,
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
    if spec.calibrate_on == "text":
        passages = read_parquet(PASSAGES, Passage)
        chosen = rng.permutation(len(passages))[: settings.examples]
        texts = [tokenizer(passages[i].text, add_special_tokens=False)["input_ids"] for i in chosen]
    else:
        examples = read_parquet(TRAINING / f"{spec.parent}.parquet", Example)
        pass_rates = pass_rates_of(examples) if spec.calibrate_on == "difficulty" else None
        examples = sample_calibration(examples, settings.examples, rng, pass_rates)
        texts = [tokenize(example, tokenizer, params.prompts).ids for example in examples]
    return [ids[: settings.max_length] for ids in texts]


def pass_rates_of(examples: Sequence[Example]) -> list[float]:
    """Return the pass rate at the problem of each example, by its posterior mean."""
    rows = read_parquet(DIFFICULTY, Difficulty)
    measured = {prompting: difficulty_by_problem(rows, prompting) for prompting in PROMPTINGS}
    return [measured[row.prompting][row.problem_id].posterior_mean for row in examples]


if __name__ == "__main__":
    console.run_stage("quantize", main, item="name")
