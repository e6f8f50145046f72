"""pass@k and maj@k of several samples per problem.

Both are expectations over the subsets of k of a problem's n samples, and so are computed exactly
from all n of them.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Status
from stages.lib.grading.grader import FAILED, normalize
from stages.lib.grading.numbers import bare_numeral


def pass_at_k(n_correct: Sequence[int], n: Sequence[int], *, k: int) -> NDArray[np.float64]:
    """Return the unbiased pass@k per problem, 1 - C(n - c, k) / C(n, k).

    This is the probability that k of a problem's n samples, drawn without replacement, include a
    correct one (Chen et al. 2021, arXiv:2107.03374). ``n_correct`` and ``n`` have one entry per
    problem. Raises ValueError for empty or unequal lists, counts outside 0..n, and k outside 1..n.
    """
    if len(n_correct) != len(n) or len(n) == 0:
        raise ValueError(
            f"n_correct, n: lengths {len(n_correct)}, {len(n)}: expected equal, at least 1"
        )
    for correct, total in zip(n_correct, n, strict=True):
        if not 0 <= correct <= total:
            raise ValueError(f"n_correct: {correct}: expected 0 to n={total}")
        if not 1 <= k <= total:
            raise ValueError(f"k: {k}: expected 1 to n={total}")
    pairs = zip(n_correct, n, strict=True)
    return np.array([1 - comb(int(m - c), k) / comb(int(m), k) for c, m in pairs])


def maj_at_k(
    votes: Sequence[Sequence[str]], correct: Sequence[Sequence[bool]], *, k: int
) -> NDArray[np.float64]:
    """Return maj@k per problem: how often a vote among k of its samples elects a correct answer.

    ``votes[i][j]`` is the answer of sample j to problem i as ``vote_of`` writes it, and
    ``correct[i][j]`` whether it is correct. An empty answer does not vote. The k samples are drawn
    without replacement; answers that tie for the first place share the credit, as in a random
    tie-break (self-consistency: Wang et al. 2022, arXiv:2203.11171). An answer that is correct in
    some samples only, as the grader's tolerance depends on how a number is written, earns their
    share. Raises ValueError for empty or unequal lists, and for fewer than k samples.
    """
    if len(votes) != len(correct) or len(votes) == 0:
        raise ValueError(
            f"votes, correct: lengths {len(votes)}, {len(correct)}: expected equal, at least 1"
        )
    rows = enumerate(zip(votes, correct, strict=True))
    return np.array([_majority_credit(i, texts, flags, k) for i, (texts, flags) in rows])


def vote_of(extracted: str, status: Status) -> str:
    """Return the answer of a sample as it votes: equal for equal numbers, "" for no answer."""
    if status in FAILED:
        return ""
    numeral = bare_numeral(extracted)
    return normalize(extracted) if numeral is None else str(numeral.value)


def _majority_credit(problem: int, votes: Sequence[str], correct: Sequence[bool], k: int) -> float:
    if len(votes) != len(correct) or not 1 <= k <= len(votes):
        raise ValueError(
            f"problem {problem}: lengths {len(votes)}, {len(correct)}: "
            f"expected equal, at least k={k}, and k at least 1"
        )
    counts = Counter(filter(None, votes))
    n_correct = Counter(vote for vote, flag in zip(votes, correct, strict=True) if vote and flag)
    silent = len(votes) - counts.total()
    credit = 0.0
    for answer, right in n_correct.items():
        others = sorted(count for other, count in counts.items() if other != answer)
        credit += right / counts[answer] * _elected(counts[answer], tuple(others), silent, k)
    return credit


@cache
def _elected(count: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """Return how often an answer wins the vote among k samples, ties shared.

    ``count`` samples of the whole give this answer, ``others`` are the counts of the other answers,
    and ``silent`` samples give none. All subsets of k are counted, by the votes for the answer.
    """
    total = 0.0
    for votes in range(1, min(count, k) + 1):
        # Answers of fewer samples can neither tie nor win: any of them may be drawn.
        rivals = [other for other in others if other >= votes]
        free = silent + sum(others) - sum(rivals)
        # subsets[t, s]: the ways to draw s samples so that t other answers have as many votes.
        subsets = np.zeros((len(rivals) + 1, k + 1))
        subsets[0, votes] = comb(count, votes)
        for rival in rivals:
            subsets = _with_answer(subsets, rival, votes)
        rest = [float(comb(free, k - size)) for size in range(k + 1)]
        total += float((subsets @ rest / np.arange(1, len(rivals) + 2)).sum())
    return total / comb(count + sum(others) + silent, k)


def _with_answer(subsets: NDArray[np.float64], count: int, most: int) -> NDArray[np.float64]:
    """Return the subsets when an answer of ``count`` >= ``most`` samples joins, which must not win.

    With ``most`` votes it is one more that ties.
    """
    joined = np.zeros_like(subsets)
    for votes in range(min(most, subsets.shape[1] - 1) + 1):
        ways = comb(count, votes) * subsets[:, : subsets.shape[1] - votes]
        if votes == most:
            joined[1:, votes:] += ways[:-1]
        else:
            joined[:, votes:] += ways
    return joined
