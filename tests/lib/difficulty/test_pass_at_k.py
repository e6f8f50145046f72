"""pass@k and maj@k agree with counts by hand."""

from collections.abc import Callable
from itertools import combinations

import pytest

from stages.lib.difficulty import pass_at_k


def test_pass_at_k_counts_the_subsets_with_a_correct_sample() -> None:
    rows = [(n_correct, n) for n in range(3, 8) for n_correct in range(n + 1)]
    expected = []
    for n_correct, n in rows:
        subsets = list(combinations([1] * n_correct + [0] * (n - n_correct), 3))
        expected.append(sum(map(any, subsets)) / len(subsets))
    counts, totals = zip(*rows, strict=True)
    assert pass_at_k.pass_at_k(counts, totals, k=3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "correct", "k", "credit"),
    [
        (["7", "3", "7"], [True, False, True], 3, 1),
        (["3", "7", "7"], [False, True, True], 1, 0),
        (["7", "3"], [True, False], 2, 1 / 2),
        (["7", "3", "5"], [True, False, True], 3, 2 / 3),
        (["", "", "7"], [False, False, True], 3, 1),
        (["", ""], [False, False], 2, 0),
    ],
)
def test_majority_vote(answers: list[str], correct: list[bool], k: int, credit: float) -> None:
    assert pass_at_k.maj_at_k([answers], [correct], k=k).tolist() == pytest.approx([credit])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pass_at_k.pass_at_k([1], [4, 4], k=1),
            "n_correct, n: lengths 1, 2: expected equal",
        ),
        (lambda: pass_at_k.pass_at_k([1], [4], k=5), "k: 5: expected 1 to n=4"),
        (lambda: pass_at_k.pass_at_k([5], [4], k=1), "n_correct: 5: expected 0 to n=4"),
        (lambda: pass_at_k.maj_at_k([], [], k=1), "answers, correct: lengths 0, 0"),
        (lambda: pass_at_k.maj_at_k([["7"]], [[True]], k=2), "problem 0: lengths 1, 1: expected"),
        (
            lambda: pass_at_k.maj_at_k([["7", "7"]], [[True, False]], k=2),
            "problem 0: answer '7': both correct and wrong",
        ),
    ],
)
def test_errors_name_the_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
