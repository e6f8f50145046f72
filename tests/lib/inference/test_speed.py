"""Latency by a clock that is set by hand."""

from collections import Counter

import pytest

from stages.lib.analysis.speeds import summarize_speeds
from stages.lib.inference import speed
from stages.lib.inference.speed import measure_latency
from stages.lib.params.evaluation import Speed


def test_repeats_of_a_clock_that_is_set_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    now, runs = [0.0], Counter[int]()
    # Seconds by the number of tokens, run by run; the first of 32 warms up.
    seconds = {32: [99.0, 4.0, 2.0, 64.0], 1: [0.5, 0.1, 0.25]}

    def generate(tokens: int) -> None:
        now[0] += seconds[tokens][runs[tokens]]
        runs[tokens] += 1

    monkeypatch.setattr(speed.time, "monotonic", lambda: now[0])
    latency = measure_latency(generate, Speed(prompts=1, tokens=32, repeats=3))
    assert latency == {
        "tokens_per_second_single": [8.0, 16.0, 0.5],
        "first_token_ms": [500.0, 100.0, 250.0],
    }
    assert runs == {32: 4, 1: 3}
    assert summarize_speeds(latency) == {
        "tokens_per_second_single": 8.0,
        "tokens_per_second_single_low": 0.5,
        "tokens_per_second_single_high": 16.0,
        "first_token_ms": 250.0,
        "first_token_ms_low": 100.0,
        "first_token_ms_high": 500.0,
    }
