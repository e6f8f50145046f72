"""Generation of a 7B model: batches one after the other, a rolling queue, and batch invariance.

Random weights of the shape of Qwen2.5-7B answer 10,000 prompts of several lengths, which groups
of four share; answers have random lengths, up to eight times the mean. Each way runs in a process
of its own.

    python -m benchmarks.gpu.vllm_queue [batch | rolling | invariant FOLDER]
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.gpu.common import Result, any_tokenizer, random_model
from benchmarks.report import run_module
from stages.lib.core.paths import CONF
from stages.lib.generations.requests import Request, Sampling
from stages.lib.params.compose import compose
from stages.lib.params.sampling import EngineConfig
from stages.lib.provenance.catalog import MODELS, Shape

MODULE = "benchmarks.gpu.vllm_queue"
SHAPE = MODELS["Qwen/Qwen2.5-7B"].shape
PROMPTS, BATCH, SAMPLES = 10_000, 256, 4
PROMPT_TOKENS, ANSWER_TOKENS, MOST = 200, 150, 1200
LEAST_RATE = 20_000
WAYS: dict[str, dict[str, Any]] = {
    "batch": {"queue": "batch", "batch_invariant": False},
    "rolling": {"queue": "rolling", "batch_invariant": False},
    "invariant": {"queue": "rolling", "batch_invariant": True},
}


def make_requests(count: int, vocabulary: int, *, mean: int = ANSWER_TOKENS) -> list[Request]:
    """Return requests whose answers do not end before their number of tokens."""
    rng = np.random.default_rng(1)
    requests = []
    prompt: tuple[int, ...] = ()
    for number in range(count):
        if number % SAMPLES == 0:
            length = int(rng.integers(PROMPT_TOKENS // 2, 2 * PROMPT_TOKENS))
            prompt = tuple(rng.integers(2, vocabulary, length).tolist())
        tokens = int(min(mean * rng.lognormal(-0.5, 1.0), MOST)) + 1
        requests.append(
            Request(str(number // SAMPLES), "cot", 0, number, prompt, tokens, ignore_eos=True)
        )
    return requests


def engine_config(way: str, **changes: Any) -> EngineConfig:
    """Return the settings of the engine for a way to generate."""
    defaults = compose([], CONF)["engine"] | {"batch_size": BATCH, "max_num_seqs": None}
    return EngineConfig.model_validate(defaults | WAYS[way] | changes)


def measure_way(folder: Path, requests: Sequence[Request], config: EngineConfig) -> Result:
    """Return the generated tokens per second of a way, without the engine's start."""
    from stages.lib.inference.engine import Engine

    engine = Engine(folder, config)
    batches = [requests[i : i + BATCH] for i in range(0, len(requests), BATCH)]
    sampling = Sampling(temperature=0.7, top_p=1.0, seed=1)
    start = time.perf_counter()
    finished = list(engine.generate_batches(batches, sampling, lambda _: None))
    seconds = time.perf_counter() - start
    tokens = sum(text.n_tokens for _, texts in finished for text in texts)
    figures = {"rate": tokens / seconds, "tokens": tokens}
    return Result("way", "", passed=True, figures=figures)


def save_model(shape: Shape, folder: Path) -> None:
    """Write a random model and a tokenizer."""
    random_model(shape).save_pretrained(folder)
    any_tokenizer().save_pretrained(folder)


def measure() -> Result:
    """Measure the three ways."""
    with TemporaryDirectory() as name:
        save_model(SHAPE, Path(name))
        rates = {way: run_module(MODULE, way, name)["figures"]["rate"] for way in WAYS}
    return judge(rates)


def judge(rates: dict[str, float]) -> Result:
    """Return the result for the rates of the three ways."""
    return Result(
        "vllm_queue",
        f"rolling at least {LEAST_RATE} tokens/s",
        rates["rolling"] >= LEAST_RATE,
        {way: round(rate) for way, rate in rates.items()}
        | {"rolling_over_batch": round(rates["rolling"] / rates["batch"], 2)},
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        way, folder = sys.argv[1:]
        requests = make_requests(PROMPTS, SHAPE.vocabulary)
        measure_way(Path(folder), requests, engine_config(way)).print_line()
    else:
        measure().print_line()
