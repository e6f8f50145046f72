"""Scores of several sampled answers per problem: pass@k and maj@k."""

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray


def pass_at_k(n_correct: Sequence[int], n: Sequence[int], *, k: int) -> NDArray[np.float64]:
    """Return the unbiased pass@k per problem, 1 - C(n - c, k) / C(n, k).

    The chance that k of a problem's n samples, drawn without replacement, hold
    a right one (Chen et al. 2021, arXiv:2107.03374). ``n_correct`` and ``n``
    have one entry per problem. Raises ValueError for empty or unequal lists,
    counts outside 0..n, and k outside 1..n.
    """
    if len(n_correct) != len(n) or len(n) == 0:
        raise ValueError(
            f"n_correct, n: lengths {len(n_correct)}, {len(n)}: expected equal, at least 1"
        )
    for right, total in zip(n_correct, n, strict=True):
        if not 0 <= right <= total:
            raise ValueError(f"n_correct: {right}: expected 0 to n={total}")
        if not 1 <= k <= total:
            raise ValueError(f"k: {k}: expected 1 to n={total}")
    pairs = zip(n_correct, n, strict=True)
    return np.array([1 - comb(int(m - c), k) / comb(int(m), k) for c, m in pairs])


def maj_at_k(
    answers: Sequence[Sequence[str]], correct: Sequence[Sequence[bool]], *, k: int
) -> NDArray[np.float64]:
    """Return maj@k per problem: is the most frequent of its first k answers right?

    ``answers[i][j]`` is the answer of sample j to problem i, ``correct[i][j]``
    its verdict. An empty answer does not vote. Answers that share the first
    place share the credit, as if a fair draw decided. Raises ValueError for
    empty or unequal lists, fewer than k samples, and an answer to one problem
    with two verdicts.
    """
    if len(answers) != len(correct) or len(answers) == 0:
        raise ValueError(
            f"answers, correct: lengths {len(answers)}, {len(correct)}: expected equal, at least 1"
        )
    rows = enumerate(zip(answers, correct, strict=True))
    return np.array([_majority(i, texts, right, k) for i, (texts, right) in rows])


def _majority(problem: int, answers: Sequence[str], correct: Sequence[bool], k: int) -> float:
    if len(answers) != len(correct) or not 1 <= k <= len(answers):
        raise ValueError(
            f"problem {problem}: {len(answers)} answers, {len(correct)} verdicts: "
            f"expected equal, at least k={k}, and k at least 1"
        )
    verdicts: dict[str, bool] = {}
    for answer, right in zip(answers[:k], correct[:k], strict=True):
        if verdicts.setdefault(answer, bool(right)) != right and answer:
            raise ValueError(f"problem {problem}: answer {answer!r}: both right and wrong")
    votes = Counter(answer for answer in answers[:k] if answer)
    top = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == top]
    return sum(verdicts[answer] for answer in winners) / max(1, len(winners))
