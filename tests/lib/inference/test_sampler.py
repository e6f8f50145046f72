"""Sampling by inverse transform: the distribution, its random numbers, and vLLM's use of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from stages.lib.generations.requests import Request, Sampling
from stages.lib.models.loading import load_model, load_tokenizer

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

pytestmark = pytest.mark.xdist_group("engines")


def draw(logits: torch.Tensor, temperature: float, random: torch.Tensor) -> list[int]:
    from stages.lib.inference import sampler

    temperatures = torch.full((len(random),), temperature)
    return sampler.draw(logits.repeat(len(random), 1), temperatures, random).tolist()


def uniform(seeds: list[int], steps: list[int]) -> torch.Tensor:
    from stages.lib.inference import sampler

    return sampler.uniform(np.array(seeds), np.array(steps))


def test_random_numbers_are_those_of_splitmix64() -> None:
    # The first outputs of the reference implementation for this seed.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    numbers = uniform([1234567] * 3, [0, 1, 2])
    assert numbers.tolist() == [((number >> 11) + 1) / 2**53 for number in expected]


def test_the_token_is_where_the_cumulated_probabilities_reach_the_number() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    random = torch.tensor([1e-12, 0.099, 0.101, 0.299, 0.301, 0.599, 0.601, 1.0]).double()
    assert draw(logits, 1.0, random) == [0, 0, 1, 1, 2, 2, 3, 3]
    # At temperature 1/2 probabilities are squared: 1, 4, 9 and 16 thirtieths.
    random = torch.tensor([0.9, 1.1, 4.9, 5.1, 13.9, 14.1]).double() / 30
    assert draw(logits, 0.5, random) == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("vocabulary", [128, 300, 1024])
def test_tokens_come_as_often_as_they_are_likely(vocabulary: int) -> None:
    n, temperature = 40_000, 0.7
    logits = 2 * torch.randn(vocabulary, generator=torch.manual_seed(0))
    logits[::7] = -torch.inf
    tokens = torch.tensor(draw(logits, temperature, uniform(list(range(n)), [3] * n)))
    counts = tokens.bincount(minlength=vocabulary).double()
    expected = n * (logits.double() / temperature).softmax(-1)
    assert not counts[::7].any()
    often = expected >= 5
    observed = [*counts[often], counts[~often].sum()]
    assert chisquare(observed, [*expected[often], expected[~often].sum()]).pvalue > 0.001


def test_no_impossible_token_at_the_ends() -> None:
    logits = torch.full((300,), -torch.inf)
    logits[[7, 130, 131, 290]] = torch.tensor([0.0, 1.0, -40.0, 2.0])
    ends = torch.tensor([2.0**-53, 0.5, 1 - 2.0**-53, 1.0]).double()
    assert set(draw(logits, 1.0, ends)) <= {7, 130, 131, 290}


def test_the_engine_draws_from_the_models_probabilities(
    tiny_engine: "Engine", tiny_base: Path
) -> None:
    prompt, temperature = (5, 6, 7), 1.3
    sampling = Sampling(temperature, top_p=1.0, seed=4)
    requests = [Request(f"p{i}", "cot", 0, 0, prompt, max_tokens=1) for i in range(200)]
    logits = load_model(tiny_base, torch.bfloat16)(torch.tensor([prompt])).logits[0, -1].float()
    random = uniform([request.seed(sampling) for request in requests], [0] * len(requests))
    decode = load_tokenizer(tiny_base).decode
    expected = [
        str(decode([token], skip_special_tokens=True))
        for token in draw(logits, temperature, random)
    ]
    generated = [
        item.text for item in tiny_engine.generate(requests, sampling, on_progress=lambda _: None)
    ]
    # vLLM leaves out a byte that is no character yet.
    whole = ["\ufffd" not in text for text in expected]
    assert len({text for text, kept in zip(expected, whole, strict=True) if kept}) > 30
    # Logits in bf16 differ a little between the two.
    assert np.mean(np.array(generated)[whole] == np.array(expected)[whole]) > 0.9
