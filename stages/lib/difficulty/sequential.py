"""Sequential sampling: more samples of problems whose pass rate is too uncertain.

Every problem gets a round of k samples. Those whose posterior interval is wider than the
rule allows get another round, until no interval is too wide or the problems left have as
many samples as allowed. If all samples of a source are wrong, say, its problems stop early.

The rule depends on the samples alone, so the posterior is the same as for a number of
samples fixed beforehand. The plain rate correct / n is biased: slightly too far from 1/2.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Generation, Problem
from stages.lib.difficulty.posterior import pass_rates
from stages.lib.generations.requests import Request
from stages.lib.grading.grader import solves
from stages.lib.params.sampling import Sequential


def extra_samples(
    sources: Sequence[str], n_correct: Sequence[int], n: Sequence[int], *, k: int, rule: Sequential
) -> NDArray[np.int64]:
    """Return how many samples each problem gets in the next round, (n,).

    All zeros means that sampling is finished.

    ``n_correct`` of the ``n`` samples of a problem are correct. A problem gets k more, up to
    ``rule.max_k`` in all, while its interval is wider than ``rule.width``.
    """
    _, low, high = pass_rates(sources, n_correct, n, interval=rule.interval)
    n_left = rule.max_k - np.asarray(n)
    return np.where(high - low > rule.width, np.minimum(k, n_left), 0)


class SequentialSampler:
    """Grades the samples of each round and returns the requests of the next."""

    def __init__(
        self,
        problems: Sequence[Problem],
        first_requests: Sequence[Request],
        *,
        k: int,
        rule: Sequential,
    ) -> None:
        """Start before the first round; ``first_requests`` has one CoT request per problem."""
        self._problems = problems
        self._first_requests = first_requests
        self._k = k
        self._rule = rule
        self._index_of = {problem.id: i for i, problem in enumerate(problems)}
        self._n_correct = [0] * len(problems)
        self._n = [0] * len(problems)

    def __call__(self, rows: Sequence[Generation]) -> list[Request]:
        """Grade the samples of a round, and return the requests of the next, [] at the end.

        Programs are ignored: difficulty is measured on CoT answers.
        """
        for row in rows:
            if row.prompting == "cot":
                i = self._index_of[row.problem_id]
                self._n[i] += 1
                self._n_correct[i] += solves(self._problems[i], row.text)
        sources = [problem.source for problem in self._problems]
        n_extra = extra_samples(sources, self._n_correct, self._n, k=self._k, rule=self._rule)
        return [
            replace(self._first_requests[i], index=self._n[i] + step)
            for step in range(self._k)
            for i in np.flatnonzero(n_extra > step)
        ]
