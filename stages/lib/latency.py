"""How fast a fixed workload is answered, end of turn ignored.

Times are medians, since another program may take the processor away.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

from stages.lib.generation import Engine, Request, Sampling

SPEED_RUNS = 3
FIRST_TOKEN_RUNS = 5


def latency(answer: Callable[[int], object], tokens: int) -> dict[str, float]:
    """Return tokens per second and the milliseconds to the first token, of a single prompt.

    ``answer(n)`` reads the prompt anew and generates n tokens, end of turn ignored. Its
    time over ``tokens`` tokens includes reading the prompt. One run before warms up.
    """
    answer(tokens)
    return {
        "tokens_per_second_single": round(
            tokens / _median_seconds(lambda: answer(tokens), SPEED_RUNS), 1
        ),
        "first_token_ms": round(1000 * _median_seconds(lambda: answer(1), FIRST_TOKEN_RUNS), 1),
    }


def speeds(engine: Engine, prompts: Sequence[tuple[int, ...]], tokens: int) -> dict[str, float]:
    """Return vLLM's tokens per second for all prompts at once, and the ``latency`` of the first."""
    together = _median_seconds(lambda: _answer(engine, prompts, tokens), SPEED_RUNS)
    return {"tokens_per_second": round(len(prompts) * tokens / together, 1)} | latency(
        of_engine(engine, prompts[0]), tokens
    )


def of_engine(engine: Engine, prompt: tuple[int, ...]) -> Callable[[int], object]:
    """Return what answers a prompt with vLLM, for ``latency``."""
    return lambda tokens: _answer(engine, [prompt], tokens)


def _answer(engine: Engine, prompts: Sequence[tuple[int, ...]], tokens: int) -> object:
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0)
    requests = [
        Request("speed", "cot", 0, number, prompt, tokens) for number, prompt in enumerate(prompts)
    ]
    return engine.answer(requests, greedy, lambda _: None, ignore_eos=True)


def _median_seconds(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return median(seconds)
