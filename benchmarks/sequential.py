"""Tokens needed to rank problems by difficulty: sequential sampling against a fixed k.

The base model answers every training problem 48 times; the answers stay in
``data/sequential/``, so that only the first run takes long (ten minutes on two idle cores).
In each of many shuffles of every problem's answers, 32 are the reference, and both sides
draw from the other 16: the peer its first k, ours by the stopping rule. Both sides and
the reference rank problems by plain pass rates. ``spearman`` has the mean correlations of
ours and of the peer with the reference, ``difference`` is ours minus the peer's with the
range that contains 95% of the shuffles, ``share`` is our tokens divided by the peer's.
``posterior`` has the same for ranking by posterior means, and ``rivals`` has other k.

    python -m benchmarks.sequential
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.report import print_line
from benchmarks.sampling import prompts
from stages.lib.core.paths import DATA, MODELS, TRAIN_PROBLEMS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.difficulty.posterior import pass_rates
from stages.lib.difficulty.sequential import extra_samples
from stages.lib.generations.complete import generate_missing
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.grading.grader import solves
from stages.lib.inference.engine import Engine
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.sampling import Sequential

ANSWERS = DATA / "sequential"
REFERENCE = 32
SHUFFLES = 20
SEED = 1
LEVEL = 0.95


@dataclass(frozen=True)
class Rival:
    """A fixed k, and the rule to compare with it, in rounds of ``round`` answers."""

    k: int
    round: int
    rule: Sequential


RIVALS = (
    Rival(10, 2, Sequential(width=0.1, interval=0.9, max_k=16)),
    Rival(4, 1, Sequential(width=0.16, interval=0.9, max_k=8)),
    Rival(8, 1, Sequential(width=0.11, interval=0.9, max_k=16)),
    Rival(16, 1, Sequential(width=0.04, interval=0.9, max_k=16)),
)


@dataclass(frozen=True)
class Draws:
    """Answers by problem: whether each is correct, and its tokens, (problems, draws)."""

    sources: Sequence[str]
    correct: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    def shuffled(self, rng: np.random.Generator) -> "Draws":
        """Return the draws with each problem's answers in a random order."""
        order = rng.permuted(
            np.broadcast_to(np.arange(self.correct.shape[1]), self.correct.shape), axis=1
        )
        return Draws(
            self.sources,
            np.take_along_axis(self.correct, order, axis=1),
            np.take_along_axis(self.tokens, order, axis=1),
        )


def draw() -> Draws:
    """Generate the missing answers to the training problems, and grade all answers."""
    params = load_params()
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    sample, engine, base = params.sample, params.engine, MODELS / "base"
    firsts = [
        Request(problem.id, "cot", sample.shots, 0, prompt, sample.max_tokens)
        for problem, prompt in zip(problems, prompts(problems), strict=True)
    ]
    # No rule draws from the answers of the reference that it is judged by.
    n_draws = REFERENCE + max(rival.rule.max_k for rival in RIVALS)
    generate_missing(
        Store(ANSWERS),
        [replace(first, index=index) for index in range(n_draws) for first in firsts],
        model=model_fingerprint(base),
        sampling=Sampling(
            sample.temperature, sample.top_p, sample.seed, tuple(params.prompts.stop)
        ),
        settings=engine,
        load=lambda: Engine(base, engine),
        desc="draw",
    )
    position_of = {problem.id: i for i, problem in enumerate(problems)}
    correct = np.zeros((len(problems), n_draws), dtype=np.bool_)
    tokens = np.zeros((len(problems), n_draws), dtype=np.int64)
    for row in Store(ANSWERS).rows():
        i = position_of[row.problem_id]
        correct[i, row.index] = solves(problems[i], row.text)
        tokens[i, row.index] = row.n_tokens
    return Draws([problem.source for problem in problems], correct, tokens)


def draw_by_rule(drawn: Draws, rival: Rival) -> NDArray[np.int64]:
    """Return the number of answers that the rule draws for each problem, (problems,)."""
    n = np.full(len(drawn.sources), rival.round)
    while True:
        n_correct = sum_first(drawn.correct, n)
        extra = extra_samples(
            drawn.sources, n_correct.tolist(), n.tolist(), k=rival.round, rule=rival.rule
        )
        if not extra.any():
            return n
        n += extra


def sum_first(values: NDArray[Any], n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of each problem's first n values, (problems,)."""
    return np.where(np.arange(values.shape[1]) < n[:, None], values, 0).sum(axis=1)


def compare(drawn: Draws, rival: Rival) -> dict[str, Any]:
    """Compare a rule with its fixed k over all shuffles."""
    rng = np.random.default_rng(SEED)
    plain, posterior, tokens = [], [], []
    for _ in range(SHUFFLES):
        whole = drawn.shuffled(rng)
        reference = Draws(drawn.sources, whole.correct[:, :REFERENCE], whole.tokens[:, :REFERENCE])
        rest = Draws(drawn.sources, whole.correct[:, REFERENCE:], whole.tokens[:, REFERENCE:])
        all_draws = np.full(len(drawn.sources), REFERENCE)
        sides = [draw_by_rule(rest, rival), np.full(len(drawn.sources), rival.k)]
        tokens.append([int(sum_first(rest.tokens, n).sum()) for n in sides])
        for score, correlations in ((rates, plain), (means, posterior)):
            target = score(reference, all_draws)
            correlations.append([spearman(score(rest, n), target) for n in sides])
    ours, peer = np.mean(tokens, axis=0)
    return {
        "k": rival.k,
        "rule": {"k": rival.round, **rival.rule.model_dump()},
        "tokens": [round(ours), round(peer)],
        "share": round(ours / peer, 3),
        **summarize(plain),
        "posterior": summarize(posterior),
    }


def rates(drawn: Draws, n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the plain pass rates of the first n answers, (problems,)."""
    return sum_first(drawn.correct, n) / n


def means(drawn: Draws, n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the posterior means of the pass rates after the first n answers, (problems,)."""
    n_correct = sum_first(drawn.correct, n).tolist()
    return pass_rates(drawn.sources, n_correct, n.tolist(), interval=LEVEL)[0]


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; ties share their mean rank."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def summarize(correlations: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the mean correlations, and the mean difference with its range over the shuffles."""
    pairs = np.array(correlations)
    difference = pairs[:, 0] - pairs[:, 1]
    low, high = np.quantile(difference, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "spearman": [round(float(value), 3) for value in pairs.mean(axis=0)],
        "difference": [round(float(value), 3) for value in (difference.mean(), low, high)],
    }


def main() -> None:
    """Draw the answers and compare every rule with its fixed k."""
    drawn = draw()
    comparisons = [compare(drawn, rival) for rival in RIVALS]
    ours, peer = comparisons[0].pop("tokens")
    print_line(
        "ranking by difficulty",
        ours=ours,
        peer=peer,
        unit="tokens",
        against=f"k = {RIVALS[0].k} for all",
        better="less",
        **comparisons[0],
        rivals=comparisons[1:],
    )


if __name__ == "__main__":
    main()
