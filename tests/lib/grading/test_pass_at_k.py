"""pass@k and maj@k agree with counts by hand, and over all subsets of the samples."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

import pytest

from stages.lib.core.schema import Status
from stages.lib.grading import pass_at_k


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
        (["3", "7", "7"], [False, True, True], 1, 2 / 3),
        (["7", "3"], [True, False], 2, 1 / 2),
        (["7", "3", "5"], [True, False, True], 3, 2 / 3),
        (["", "", "7"], [False, False, True], 3, 1),
        (["", ""], [False, False], 2, 0),
        # One way to write a number that the grader takes, and another that it does not.
        (["1/3", "1/3", "2"], [True, False, False], 3, 1 / 2),
    ],
)
def test_majority_vote(answers: list[str], correct: list[bool], k: int, credit: float) -> None:
    assert pass_at_k.maj_at_k([answers], [correct], k=k).tolist() == pytest.approx([credit])


def elected(votes: Sequence[str]) -> float:
    """Return the credit of the answer "7" in one vote."""
    counts = Counter(filter(None, votes))
    winners = [vote for vote, count in counts.items() if count == max(counts.values())]
    return ("7" in winners) / max(1, len(winners))


@pytest.mark.parametrize("votes", ["777335", "7735512", "73 ", "77  33", "  ", "7355555"])
def test_a_vote_of_k_is_the_mean_over_all_subsets(votes: str) -> None:
    answers = [vote.strip() for vote in votes]
    correct = [vote == "7" for vote in votes]
    for k in range(1, len(votes) + 1):
        by_hand = fmean(elected(subset) for subset in combinations(answers, k))
        assert pass_at_k.maj_at_k([answers], [correct], k=k).item() == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("extracted", "status", "vote"),
    [
        ("0.50", "wrong", "1/2"),
        ("1,000", "correct", "1000"),
        ("x + 1.", "wrong", "x+1"),
        ("B", "wrong", "B"),
        ("7", "ungraded", ""),
        ("", "timeout", ""),
    ],
)
def test_equal_numbers_are_one_vote(extracted: str, status: Status, vote: str) -> None:
    assert pass_at_k.vote_of(extracted, status) == vote


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pass_at_k.pass_at_k([1], [4, 4], k=1),
            "n_correct, n: lengths 1, 2: expected equal",
        ),
        (lambda: pass_at_k.pass_at_k([1], [4], k=5), "k: 5: expected 1 to n=4"),
        (lambda: pass_at_k.pass_at_k([5], [4], k=1), "n_correct: 5: expected 0 to n=4"),
        (lambda: pass_at_k.maj_at_k([], [], k=1), "votes, correct: lengths 0, 0"),
        (lambda: pass_at_k.maj_at_k([["7"]], [[True]], k=2), "problem 0: lengths 1, 1: expected"),
    ],
)
def test_errors_name_the_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
