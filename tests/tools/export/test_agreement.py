"""Shares of agreement, by hand."""

import pytest

from tests.rows import make_problem
from tools.export.agreement import agreement, is_correct

FOUR = [make_problem(str(number), answer=str(number)) for number in range(4)]


def test_texts_and_grades_are_counted_separately() -> None:
    texts = ["The answer is 0.", "The answer is 1.", "The answer is 7.", "The answer is 3."]
    others = ["The answer is 0.", "So it is 1. The answer is 1.", "The answer is 8.", "none"]
    assert is_correct(FOUR, texts) == [True, True, False, True]
    assert is_correct(FOUR, others) == [True, True, False, False]
    assert agreement(FOUR, texts, others) == {"same_text": 0.25, "same_grade": 0.75}
    assert agreement(FOUR, texts, texts) == {"same_text": 1.0, "same_grade": 1.0}


def test_every_problem_needs_a_text() -> None:
    with pytest.raises(ValueError, match="zip"):
        is_correct(FOUR, ["The answer is 0."])
