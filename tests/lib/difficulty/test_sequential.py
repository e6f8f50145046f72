"""Which problems get further rounds, and that the posterior stays calibrated."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.lib.core.schema import Generation
from stages.lib.difficulty.posterior import pass_rates
from stages.lib.difficulty.sequential import SequentialSampler, extra_samples
from stages.lib.generations.requests import Request
from stages.lib.params.sampling import Sequential
from tests.rows import make_generation, make_problem


def rule(width: float, max_k: int) -> Sequential:
    return Sequential(width=width, interval=0.9, max_k=max_k)


def test_problems_with_a_wide_interval_get_another_round() -> None:
    # No sample of "never" is correct: each posterior has the 8 samples of the source and 4
    # of its own. The prior fitted to "mixed" is flat, and the posteriors are wide.
    sources = ["never"] * 2 + ["mixed"] * 6
    n_correct = [0, 0, 0, 1, 2, 2, 3, 4]
    _, low, high = pass_rates(sources, n_correct, [4] * 8, interval=0.9)
    assert (high - low)[:2].max() < 0.2 < (high - low)[2:].min()
    n_extra = extra_samples(sources, n_correct, [4] * 8, k=4, rule=rule(0.2, 7))
    assert n_extra.tolist() == [0, 0, 3, 3, 3, 3, 3, 3]
    assert not extra_samples(sources, n_correct, [4] * 8, k=4, rule=rule(0.2, 4)).any()
    widest = float((high - low).max())
    assert not extra_samples(sources, n_correct, [4] * 8, k=4, rule=rule(widest, 7)).any()


def simulate(
    rates: NDArray[np.float64], sources: Sequence[str], k: int, rule: Sequential, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of correct samples and of all samples of each problem."""
    rng = np.random.default_rng(seed)
    n = np.full(len(rates), k)
    n_correct = rng.binomial(k, rates)
    while (n_extra := extra_samples(sources, n_correct.tolist(), n.tolist(), k=k, rule=rule)).any():
        n_correct += rng.binomial(n_extra, rates)
        n += n_extra
    return n_correct, n


@pytest.mark.parametrize(("alpha", "beta_", "width"), [(0.5, 2.0, 0.3), (3.0, 1.0, 0.4)])
def test_stopping_early_leaves_the_posterior_right(
    alpha: float, beta_: float, width: float
) -> None:
    rates = np.random.default_rng(8).beta(alpha, beta_, 20_000)
    sources = [f"source {number % 20}" for number in range(20_000)]
    n_correct, n = simulate(rates, sources, 4, rule(width, 32), seed=9)
    assert 0.2 < np.mean(n == 4) < 0.8
    assert np.mean(n == 32) < 0.1
    mean, low, high = pass_rates(sources, n_correct.tolist(), n.tolist(), interval=0.9)
    assert np.mean((low <= rates) & (rates <= high)) == pytest.approx(0.9, abs=0.01)
    for group in np.array_split(np.argsort(mean), 5):
        assert mean[group].mean() == pytest.approx(rates[group].mean(), abs=0.01)


def request(problem_id: str, index: int) -> Request:
    return Request(problem_id, "cot", 1, index, (1, 2), 8)


def test_rounds_are_graded_and_continue_the_indices_of_the_samples() -> None:
    problems = [
        make_problem(name, source="hard" if name < "e" else "mixed", answer="7")
        for name in "abcdefgh"
    ]
    first_requests = [request(row.id, 0) for row in problems]
    sampler = SequentialSampler(problems, first_requests, k=2, rule=rule(0.3, 5))
    correct = {("e", 0), ("f", 0), ("g", 0), ("g", 1), ("h", 0)}

    def answer(requests: Sequence[Request]) -> list[Generation]:
        return [
            make_generation(row.problem_id, "cot", index=row.index, text=f"The answer is {answer}.")
            for row in requests
            for answer in [7 if (row.problem_id, row.index) in correct else 8]
        ]

    first = answer([request(name, index) for index in (0, 1) for name in "abcdefgh"])
    # Programs would be correct, and do not count.
    programs = [
        make_generation(name, "pot", index=index, text="The answer is 7.")
        for name in "abcd"
        for index in (0, 1)
    ]
    second = sampler(first + programs)
    assert second == [request(name, index) for index in (2, 3) for name in "efgh"]
    third = sampler(answer(second))
    assert third == [request(name, 4) for name in "efgh"]
    assert sampler(answer(third)) == []
