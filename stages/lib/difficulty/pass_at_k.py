"""pass@k and maj@k of several samples per problem."""

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray


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
    answers: Sequence[Sequence[str]], correct: Sequence[Sequence[bool]], *, k: int
) -> NDArray[np.float64]:
    """Return maj@k per problem: 1 if the most frequent of its first k answers is correct.

    ``answers[i][j]`` is the answer of sample j to problem i, ``correct[i][j]`` whether it
    is correct. An empty answer does not vote. Answers that tie for the first place share
    the credit, as in a random tie-break. Raises ValueError for empty or unequal lists,
    fewer than k samples, and an answer that is both correct and wrong for one problem.
    """
    if len(answers) != len(correct) or len(answers) == 0:
        raise ValueError(
            f"answers, correct: lengths {len(answers)}, {len(correct)}: expected equal, at least 1"
        )
    rows = enumerate(zip(answers, correct, strict=True))
    return np.array([_majority_credit(i, texts, flags, k) for i, (texts, flags) in rows])


def _majority_credit(
    problem: int, answers: Sequence[str], correct: Sequence[bool], k: int
) -> float:
    if len(answers) != len(correct) or not 1 <= k <= len(answers):
        raise ValueError(
            f"problem {problem}: lengths {len(answers)}, {len(correct)}: "
            f"expected equal, at least k={k}, and k at least 1"
        )
    is_correct: dict[str, bool] = {}
    for answer, flag in zip(answers[:k], correct[:k], strict=True):
        if is_correct.setdefault(answer, bool(flag)) != flag and answer:
            raise ValueError(f"problem {problem}: answer {answer!r}: both correct and wrong")
    votes = Counter(answer for answer in answers[:k] if answer)
    top = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == top]
    return sum(is_correct[answer] for answer in winners) / max(1, len(winners))
