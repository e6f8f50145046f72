"""Who is sampled again, and what that does to the posterior."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.lib.core.schema import Generation, Problem, Prompting
from stages.lib.difficulty.posterior import pass_rates
from stages.lib.difficulty.sequential import SequentialSampler, next_round
from stages.lib.generations.requests import Request
from stages.lib.params.sampling import Sequential


def rule(width: float, most: int) -> Sequential:
    return Sequential(width=width, interval=0.9, most=most)


def test_a_round_goes_to_those_whose_interval_is_wide() -> None:
    # Of "never" nobody is ever right, which its problems share: Beta(1/2, 8 + 1/2) and
    # four of its own. Of "mixed" the fitted prior is flat, and little is known.
    sources = ["never"] * 2 + ["mixed"] * 6
    n_correct = [0, 0, 0, 1, 2, 2, 3, 4]
    _, low, high = pass_rates(sources, n_correct, [4] * 8, interval=0.9)
    assert (high - low)[:2].max() < 0.2 < (high - low)[2:].min()
    wanted = next_round(sources, n_correct, [4] * 8, k=4, rule=rule(0.2, 7))
    assert wanted.tolist() == [0, 0, 3, 3, 3, 3, 3, 3]
    assert not next_round(sources, n_correct, [4] * 8, k=4, rule=rule(0.2, 4)).any()
    widest = float((high - low).max())
    assert not next_round(sources, n_correct, [4] * 8, k=4, rule=rule(widest, 7)).any()


def sampled(
    rates: NDArray[np.float64], sources: Sequence[str], k: int, rule: Sequential, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many samples of each problem are right, and how many there are."""
    rng = np.random.default_rng(seed)
    n = np.full(len(rates), k)
    n_correct = rng.binomial(k, rates)
    while (more := next_round(sources, n_correct.tolist(), n.tolist(), k=k, rule=rule)).any():
        n_correct += rng.binomial(more, rates)
        n += more
    return n_correct, n


@pytest.mark.parametrize(("alpha", "beta_", "width"), [(0.5, 2.0, 0.3), (3.0, 1.0, 0.4)])
def test_stopping_early_leaves_the_posterior_right(
    alpha: float, beta_: float, width: float
) -> None:
    rates = np.random.default_rng(8).beta(alpha, beta_, 20_000)
    sources = [f"source {number % 20}" for number in range(20_000)]
    n_correct, n = sampled(rates, sources, 4, rule(width, 32), seed=9)
    assert 0.2 < np.mean(n == 4) < 0.8
    assert np.mean(n == 32) < 0.1
    mean, low, high = pass_rates(sources, n_correct.tolist(), n.tolist(), interval=0.9)
    assert np.mean((low <= rates) & (rates <= high)) == pytest.approx(0.9, abs=0.01)
    for group in np.array_split(np.argsort(mean), 5):
        assert mean[group].mean() == pytest.approx(rates[group].mean(), abs=0.01)


def problem(name: str, source: str) -> Problem:
    return Problem(
        id=name,
        source=source,
        question="?",
        answer="7",
        kind="number",
        choices=[],
        solution="",
        program="",
        level=None,
        topic="",
        template="",
    )


def answered(request: Request, said: str) -> Generation:
    return Generation(
        problem_id=request.problem_id,
        model="m",
        prompting=request.prompting,
        shots=request.shots,
        index=request.index,
        text=f"The answer is {said}.",
        finish_reason="stop",
        n_tokens=5,
        prompt_sha="p",
    )


def asked(name: str, index: int, prompting: Prompting = "cot") -> Request:
    return Request(name, prompting, 1, index, (1, 2), 8)


def test_rounds_are_graded_and_ask_for_the_samples_behind_those_that_are_there() -> None:
    problems = [problem(name, "hard" if name < "e" else "mixed") for name in "abcdefgh"]
    firsts = [asked(one.id, 0) for one in problems]
    rounds = SequentialSampler(problems, firsts, k=2, rule=rule(0.3, 5))
    right = {("e", 0), ("f", 0), ("g", 0), ("g", 1), ("h", 0)}

    def answer(requests: Sequence[Request]) -> list[Generation]:
        return [
            answered(one, "7" if (one.problem_id, one.index) in right else "8") for one in requests
        ]

    # Programs would be right, and do not count.
    programs = [answered(asked(name, index, "pot"), "7") for name in "abcd" for index in (0, 1)]
    second = rounds(
        answer([asked(name, index) for index in (0, 1) for name in "abcdefgh"]) + programs
    )
    assert second == [asked(name, index) for index in (2, 3) for name in "efgh"]
    third = rounds(answer(second))
    assert third == [asked(name, 4) for name in "efgh"]
    assert rounds(answer(third)) == []
