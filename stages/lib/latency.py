"""How long one answer takes, whichever engine gives it."""

import time
from collections.abc import Callable
from statistics import median

from stages.lib.generation import Engine, Request, Sampling

SPEED_RUNS = 3
FIRST_TOKEN_RUNS = 5


def latency(answer: Callable[[int], object], tokens: int) -> dict[str, float]:
    """Return tokens per second and the milliseconds to the first token, of a single prompt.

    ``answer(n)`` reads the prompt anew and generates n tokens, end of turn ignored. Its
    time over ``tokens`` tokens includes reading the prompt. Both are medians, after one
    run to warm up, since another program may take the processor away.
    """
    answer(tokens)
    return {
        "tokens_per_second_single": round(
            tokens / _median_seconds(lambda: answer(tokens), SPEED_RUNS), 1
        ),
        "first_token_ms": round(1000 * _median_seconds(lambda: answer(1), FIRST_TOKEN_RUNS), 1),
    }


def of_engine(engine: Engine, prompt: tuple[int, ...]) -> Callable[[int], object]:
    """Return what answers a prompt with vLLM, for ``latency``."""
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0)

    def answer(tokens: int) -> object:
        request = Request("speed", "cot", 0, 0, prompt, tokens)
        return engine.answer([request], greedy, lambda _: None, ignore_eos=True)

    return answer


def _median_seconds(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return median(seconds)
