"""How fast a fixed workload is answered, end of turn ignored.

Each is measured several times: another program may take the processor away.
"""

import time
from collections.abc import Callable, Sequence

from stages.lib.generations.requests import Request, Sampling
from stages.lib.inference.engine import Engine
from stages.lib.params.evaluation import Speed


def measure_latency(answer: Callable[[int], object], speed: Speed) -> dict[str, list[float]]:
    """Return tokens per second and the milliseconds to the first token, of a single prompt.

    A list each, of ``speed.repeats``. ``answer(n)`` reads the prompt anew and generates n
    tokens, end of turn ignored. Its time over ``speed.tokens`` tokens includes reading the
    prompt. One run before warms up.
    """
    return {
        "tokens_per_second_single": _rates(lambda: answer(speed.tokens), speed.tokens, speed),
        "first_token_ms": [
            round(1000 * seconds, 1) for seconds in _seconds(lambda: answer(1), speed.repeats)
        ],
    }


def measure_throughput(
    engine: Engine, prompts: Sequence[tuple[int, ...]], speed: Speed
) -> dict[str, list[float]]:
    """Return vLLM's tokens per second for all prompts at once, and for the first alone."""
    tokens = len(prompts) * speed.tokens
    return {
        "tokens_per_second": _rates(lambda: _answer(engine, prompts, speed.tokens), tokens, speed)
    } | measure_latency(engine_runner(engine, prompts[0]), speed)


def engine_runner(engine: Engine, prompt: tuple[int, ...]) -> Callable[[int], object]:
    """Return what answers a prompt with vLLM, for ``measure_latency``."""
    return lambda tokens: _answer(engine, [prompt], tokens)


def _answer(engine: Engine, prompts: Sequence[tuple[int, ...]], tokens: int) -> object:
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0)
    requests = [
        Request("speed", "cot", 0, number, prompt, tokens) for number, prompt in enumerate(prompts)
    ]
    return engine.answer(requests, greedy, lambda _: None, ignore_eos=True)


def _rates(work: Callable[[], object], tokens: int, speed: Speed) -> list[float]:
    work()
    return [round(tokens / seconds, 1) for seconds in _seconds(work, speed.repeats)]


def _seconds(work: Callable[[], object], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return seconds
