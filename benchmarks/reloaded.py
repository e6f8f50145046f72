"""Compare the answers of a saved quantized model in vLLM and in transformers.

Both answer the same benchmark problems greedily from the same tokens; transformers loads the
folder in the usual way, with GPTQModel's layers for the packed weights. The baseline is vLLM
against itself, in smaller batches. Prints the shares of texts and grades that agree, and
fails if transformers' grades differ from vLLM's more often than vLLM's own do, beyond chance
(Fisher's exact test at 1%, which treats the two comparisons as independent).

    python -m benchmarks.reloaded MODEL
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, cast

import torch
from scipy.stats import fisher_exact
from transformers import PreTrainedModel

from stages.lib.core.paths import MODELS
from stages.lib.generations.answers import read_benchmarks
from stages.lib.generations.requests import Request, truncate_at_stop
from stages.lib.inference.dequantize import has_kernel
from stages.lib.models import loading
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.export.__main__ import run_vllm, select_problems
from tools.export.agreement import agreement

BATCH = 10
RARE = 0.01


@torch.no_grad()
def generate_answers(
    model: PreTrainedModel, requests: Sequence[Request], pad: int
) -> list[list[int]]:
    """Return the greedy answers to requests as token ids, prompts padded on the left."""
    width = max(len(request.prompt) for request in requests)
    ids = [[pad] * (width - len(request.prompt)) + list(request.prompt) for request in requests]
    mask = [[0] * (width - len(request.prompt)) + [1] * len(request.prompt) for request in requests]
    output = cast(Any, model).generate(
        input_ids=torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        max_new_tokens=max(request.max_tokens for request in requests),
        do_sample=False,
        pad_token_id=pad,
    )
    return output[:, width:].tolist()


def with_transformers(name: str, requests: Sequence[Request], stops: Sequence[str]) -> list[str]:
    """Return the answers of a packed model with transformers, as text."""
    tokenizer = loading.load_tokenizer(MODELS / name)
    model = loading.load_model(MODELS / name, torch.bfloat16).eval()
    eos = tokenizer.eos_token_id
    pad = cast(int, eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    texts = []
    with console.progress_bar(
        total=len(requests), desc="answer, transformers", unit="problem"
    ) as progress:
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            for request, ids in zip(batch, generate_answers(model, batch, pad), strict=True):
                text = cast(
                    str, tokenizer.decode(ids[: request.max_tokens], skip_special_tokens=True)
                )
                texts.append(truncate_at_stop(text, stops))
            progress.update(len(batch))
    return texts


def main(name: str) -> None:
    """Compare a model's answers."""
    params = load_params()
    if not has_kernel(MODELS / name):
        sys.exit(f"{name}: vLLM has no kernel for it here and loads its weights unpacked")
    benchmarks = read_benchmarks(params.evaluate.max_tokens)
    problems, requests = select_problems(MODELS / name, benchmarks, params)
    texts = with_transformers(name, requests, params.prompts.stop)
    batched, smaller_batches, _ = run_vllm(MODELS / name, requests, params)
    with_vllm = agreement(problems, texts, batched)
    vllm_repeated = agreement(problems, smaller_batches, batched)
    counts = [
        [round(len(problems) * share), round(len(problems) * (1 - share))]
        for share in (with_vllm["same_grade"], vllm_repeated["same_grade"])
    ]
    p = float(cast(Any, fisher_exact(counts, alternative="less")).pvalue)
    result = {
        "model": name,
        "problems": len(problems),
        "transformers_with_vllm": with_vllm,
        "vllm_with_itself": vllm_repeated,
        "p": round(p, 4),
    }
    print(json.dumps(result))
    if p < RARE:
        sys.exit(f"{name}: transformers and vLLM give other grades: is the file damaged?")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one model, such as adaptive-gptq4")
    main(sys.argv[1])
