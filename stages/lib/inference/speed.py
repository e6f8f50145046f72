"""Latency and throughput of a fixed workload that ignores the end of turn.

Every measurement is repeated: another program may take processor time away.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stages.lib.generations.requests import Request, Sampling
from stages.lib.params.evaluation import Speed

# vLLM takes many seconds to import, and exports measure without it.
if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine


def measure_latency(generate: Callable[[int], object], speed: Speed) -> dict[str, list[float]]:
    """Measure tokens per second and milliseconds to the first token, for a single prompt.

    Each is a list of ``speed.repeats`` values, after one warm-up run. ``generate(n)`` reads the
    prompt anew and generates exactly n tokens; the rate over ``speed.tokens`` tokens includes
    the time to read the prompt.
    """
    return {
        "tokens_per_second_single": _rates(lambda: generate(speed.tokens), speed.tokens, speed),
        "first_token_ms": [
            round(1000 * seconds, 1) for seconds in _seconds(lambda: generate(1), speed.repeats)
        ],
    }


def measure_throughput(
    engine: "Engine", prompts: Sequence[tuple[int, ...]], speed: Speed
) -> dict[str, list[float]]:
    """Measure vLLM's tokens per second for all prompts at once, and latency for the first."""
    tokens = len(prompts) * speed.tokens
    return {
        "tokens_per_second": _rates(lambda: _generate(engine, prompts, speed.tokens), tokens, speed)
    } | measure_latency(engine_runner(engine, prompts[0]), speed)


def engine_runner(engine: "Engine", prompt: tuple[int, ...]) -> Callable[[int], object]:
    """Return a function that generates n tokens with vLLM, for ``measure_latency``."""
    return lambda tokens: _generate(engine, [prompt], tokens)


def _generate(engine: "Engine", prompts: Sequence[tuple[int, ...]], tokens: int) -> object:
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0)
    requests = [
        Request("speed", "cot", 0, number, prompt, tokens, ignore_eos=True)
        for number, prompt in enumerate(prompts)
    ]
    return engine.generate(requests, greedy, lambda _: None)


def _rates(work: Callable[[], object], tokens: int, speed: Speed) -> list[float]:
    work()  # warm up
    return [round(tokens / seconds, 1) for seconds in _seconds(work, speed.repeats)]


def _seconds(work: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.monotonic()
        work()
        seconds.append(time.monotonic() - start)
    return seconds
