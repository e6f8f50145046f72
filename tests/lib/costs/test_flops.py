"""FLOPs by hand, and against figures that others and the default run measured."""

import pytest

from stages.lib.costs.flops import (
    RATES,
    forward_flops,
    generation_flops,
    training_flops,
    training_hours,
)
from stages.lib.provenance.catalog import LLAMA_8B, SMOLLM2, Shape

TINY = Shape(2, 8, 16, 2, 1, 4, 10, tied=True)
# Two blocks: queries and output 8 x 8, keys and values 8 x 4, three layers of 8 x 16.
BLOCKS = 2 * (2 * 64 + 2 * 32 + 3 * 128)


def test_training_counts_weights_scores_and_the_output_at_supervised_tokens() -> None:
    flops = training_flops(TINY, tokens=5, supervised=3, context=6)
    scores = 2 * 2 * 2 * 8 * 3  # two blocks, two products, 8 values a query, 3 tokens on average
    assert flops == 3 * (5 * (2 * BLOCKS + scores) + 3 * 2 * 10 * 8)


def test_generation_reads_the_prompt_and_writes_the_answer() -> None:
    flops = generation_flops(TINY, prompt=4, generated=2, answers=7)
    scores = 2 * 2 * 2 * 8 * 3
    assert flops == 7 * (6 * (2 * BLOCKS + scores) + 2 * 2 * 10 * 8)


@pytest.mark.parametrize(("tokens_per_s", "stated"), [(5_762, 0.33), (6_667, 0.39)])
def test_the_share_of_the_peak_is_what_torchtitan_states(tokens_per_s: int, stated: float) -> None:
    # They count both halves of the attention matrix and the output at every token.
    head = 2 * LLAMA_8B.vocabulary * LLAMA_8B.hidden
    per_token = 3 * (forward_flops(LLAMA_8B, tokens=1, seen=8192) + head)
    assert tokens_per_s * per_token / 989e12 == pytest.approx(stated, abs=0.01)


def test_hours_are_those_of_the_run_that_the_rate_is_from() -> None:
    per_token = training_flops(LLAMA_8B, tokens=1, supervised=1, context=8192)
    assert training_hours(per_token * 5_762 * 3600 * 8, "h100", 8) == pytest.approx(1)
    assert all(rate.source for rate in RATES.values())


# (processed tokens, supervised tokens, seconds) of the trainings of the default run at c60bf5f.
@pytest.mark.parametrize(
    ("tokens", "supervised", "seconds"),
    [
        (23_204, 10_752, 87.3),
        (22_963, 10_752, 92.0),
        (22_883, 10_752, 85.9),
        (22_977, 10_752, 89.2),
    ],
)
def test_hours_of_the_default_run_are_within_a_tenth(
    tokens: int, supervised: int, seconds: float
) -> None:
    flops = training_flops(SMOLLM2.shape, tokens=tokens, supervised=supervised, context=54)
    assert 3600 * training_hours(flops, "epyc-2-cores", 1) == pytest.approx(seconds, rel=0.1)
