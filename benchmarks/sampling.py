"""Sampled tokens per second: our engine against vLLM with its own defaults.

Both sides have the same model, few-shot prompts and sampling settings. Each runs in its own
process and is timed over a second batch, after one to warm up.

    python -m benchmarks.sampling
"""

import os
import time
from collections.abc import Sequence

from benchmarks.report import print_line, run_sides
from stages.lib.core.paths import DEMONSTRATIONS, MODELS, TRAIN_PROBLEMS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.models import loading
from stages.lib.params.load import load_params
from stages.lib.prompts.few_shot import few_shot_prompt

PROMPTS = 256


def prompts(problems: Sequence[Problem]) -> list[tuple[int, ...]]:
    """Return the few-shot prompts of training problems."""
    params = load_params()
    tokenizer = loading.load_tokenizer(MODELS / "base")
    pool = read_parquet(DEMONSTRATIONS, Problem)
    return [
        few_shot_prompt(tokenizer, params.prompts, problem, "cot", pool, params.sample.shots)
        for problem in problems
    ]


def timed_prompts() -> list[tuple[int, ...]]:
    """Return the prompts that both sides answer."""
    return prompts(read_parquet(TRAIN_PROBLEMS, Problem)[:PROMPTS])


def measure_ours() -> dict[str, float]:
    """Measure the engine as the stages use it."""
    started = time.monotonic()
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.engine import Engine

    params = load_params()
    engine = Engine(MODELS / "base", params.engine)
    loaded = time.monotonic() - started
    sample = params.sample
    requests = [
        Request(str(i), "cot", sample.shots, 0, prompt, sample.max_tokens)
        for i, prompt in enumerate(timed_prompts())
    ]
    settings = Sampling(sample.temperature, sample.top_p, sample.seed)
    engine.generate(requests, settings, lambda _: None)
    started = time.monotonic()
    answers = engine.generate(requests, settings, lambda _: None)
    tokens = sum(n_tokens for _, _, n_tokens in answers)
    return {"rate": tokens / (time.monotonic() - started), "load_s": loaded}


def measure_peer() -> dict[str, float]:
    """Measure vLLM's ``LLM`` with its defaults, except model, context length and cache size.

    Without a cache size it requests 92% of the memory, and fails if less is free.
    """
    params = load_params()
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(params.engine.kv_cache_gib)
    started = time.monotonic()
    from vllm import LLM, SamplingParams, TokensPrompt

    sample = params.sample
    engine = LLM(str(MODELS / "base"), max_model_len=params.engine.max_model_len)
    loaded = time.monotonic() - started
    inputs = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in timed_prompts()]
    settings = SamplingParams(
        temperature=sample.temperature, top_p=sample.top_p, max_tokens=sample.max_tokens
    )
    engine.generate(inputs, settings, use_tqdm=False)
    engine.reset_prefix_cache()
    started = time.monotonic()
    answers = engine.generate(inputs, settings, use_tqdm=False)
    tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
    return {"rate": tokens / (time.monotonic() - started), "load_s": loaded}


def main() -> None:
    """Measure both sides."""
    first, second = run_sides("benchmarks.sampling", ours=measure_ours, peer=measure_peer)
    print_line(
        "sampling",
        ours=first["rate"],
        peer=second["rate"],
        unit="tokens/s",
        against="vLLM with its own defaults",
        better="more",
        load_s=[round(first["load_s"], 1), round(second["load_s"], 1)],
    )


if __name__ == "__main__":
    main()
