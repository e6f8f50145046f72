"""What is timed: the numbers of tokens that an engine is asked for."""

from collections import Counter

import pytest

from stages.lib import latency as module
from stages.lib.latency import latency


def test_medians_of_a_clock_that_is_set_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], Counter[int]()
    # Seconds by the number of tokens, run by run; the first of 32 warms up.
    seconds = {32: [99.0, 4.0, 2.0, 60.0], 1: [0.5, 0.1, 0.2, 9.0, 0.3]}

    def answer(tokens: int) -> None:
        now[0] += seconds[tokens][asked[tokens]]
        asked[tokens] += 1

    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    assert latency(answer, 32) == {"tokens_per_second_single": 8.0, "first_token_ms": 300.0}
    assert asked == {32: 4, 1: 5}
