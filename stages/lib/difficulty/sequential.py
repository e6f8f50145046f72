"""Sequential sampling: more samples of a problem while its pass rate is not known well enough.

Every problem gets a round of k samples. Those whose posterior interval is still wider
than asked get another, until none is left or all that are have as many as allowed. A
problem that its source has told much about (all wrong, say) stops at once.

The rule looks at nothing but the samples, so the posterior is that of a number fixed
beforehand. The plain rate correct / n is not: it is a little further from the middle.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Generation, Problem
from stages.lib.difficulty.posterior import pass_rates
from stages.lib.generations.requests import Request
from stages.lib.grading.grader import grade
from stages.lib.params.sampling import Sequential


def next_round(
    sources: Sequence[str], n_correct: Sequence[int], n: Sequence[int], *, k: int, rule: Sequential
) -> NDArray[np.int64]:
    """Return how many samples each problem gets next, (n,); all zero when sampling is over.

    ``n_correct`` of the ``n`` samples of a problem are right. It gets k more, up to
    ``rule.most``, while its interval is wider than ``rule.width``.
    """
    _, low, high = pass_rates(sources, n_correct, n, interval=rule.interval)
    left = rule.most - np.asarray(n)
    return np.where(high - low > rule.width, np.minimum(k, left), 0)


class SequentialSampler:
    """The rounds that follow the first; called with each round's samples, it says the next."""

    def __init__(
        self, problems: Sequence[Problem], firsts: Sequence[Request], *, k: int, rule: Sequential
    ) -> None:
        """Take the problems, each one's first request for reasoning, and the rule."""
        self._problems = problems
        self._firsts = firsts
        self._k = k
        self._rule = rule
        self._place = {problem.id: i for i, problem in enumerate(problems)}
        self._right = [0] * len(problems)
        self._tried = [0] * len(problems)

    def __call__(self, rows: Sequence[Generation]) -> list[Request]:
        """Grade the samples of a round, and return the requests of the next, none at the end.

        Programs are not looked at: difficulty is that of reasoning.
        """
        for row in rows:
            if row.prompting == "cot":
                self._count(row)
        sources = [problem.source for problem in self._problems]
        wanted = next_round(sources, self._right, self._tried, k=self._k, rule=self._rule)
        return [
            replace(self._firsts[i], index=self._tried[i] + step)
            for step in range(self._k)
            for i in np.flatnonzero(wanted > step)
        ]

    def _count(self, row: Generation) -> None:
        i = self._place[row.problem_id]
        of = self._problems[i]
        verdict = grade(row.text, answer=of.answer, kind=of.kind, choices=of.choices)
        self._tried[i] += 1
        self._right[i] += verdict.status == "correct"
