"""Math-Verify's own extraction, beside answers that it cannot finish."""

import pytest

from stages.lib.core.schema import Problem
from stages.lib.grading.second_grader import TextAnswer, describe, grade_again, text_answer
from tests.rows import make_problem

ANSWERS = [
    (TextAnswer("So 3*4 = 12. The answer is 12.", "12", ""), True),
    (TextAnswer("The answer is $\\frac{1}{2}$", "0.5", ""), True),
    (TextAnswer("The answer is 13", "12", ""), False),
    (TextAnswer("Thus the answer is B.", "B", "ABCD"), True),
    (TextAnswer("Thus the answer is C.", "B", "ABCD"), False),
    (TextAnswer("No idea.", "7", ""), False),
    (TextAnswer(r"\boxed{9^{9^{9^9}}}", "3", ""), None),
    (TextAnswer(r"After that one: \boxed{7}", "7", ""), True),
]


def test_texts_are_graded_in_order_and_a_failure_is_no_verdict() -> None:
    texts, expected = zip(*ANSWERS, strict=True)
    assert list(grade_again(texts)) == list(expected)
    assert [describe(verdict) for verdict in (True, False, None)] == ["correct", "wrong", "failed"]


@pytest.mark.parametrize(
    ("problem", "letters"),
    [
        (make_problem("p", answer="12"), ""),
        (make_problem("p", answer="B", kind="choice", choices=["1", "2", "3"]), "ABC"),
        (make_problem("p", answer="B", kind="choice", choices=[]), "ABCDE"),
    ],
)
def test_options_are_named_by_their_letters(problem: Problem, letters: str) -> None:
    assert text_answer("text", problem) == TextAnswer("text", problem.answer, letters)
