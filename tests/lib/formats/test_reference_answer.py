"""The answer that a reference solution states: surely, or not at all."""

import pytest

from stages.lib.formats.reference_answer import ReferenceAnswer, as_answer, find_answer

STATED = {
    # a mark
    "6 * 7 = 42. The answer is 42.": ("42", "number"),
    "The answer is 42 apples": ("42", "number"),
    "#### 1,450,000": ("1450000", "number"),
    "The answer is $18.50.": ("18.5", "number"),
    "The answer is 3/30.": ("3/30", "number"),
    r"so $x = \boxed{\frac{1}{2}}$.": ("0.5", "number"),
    r"so the area is $\boxed{108\pi}$. The answer is $108\pi$": (r"108\pi", "expression"),
    r"$\boxed{3s^2}$": ("3s^2", "expression"),
    r"The interval is $\boxed{[-36,104]}$.": ("[-36,104]", "expression"),
    r"The line is $\boxed{4x-5y=-50}$.": ("4x-5y=-50", "expression"),
    r"$\boxed{x = 5}$, which is 5 more than 0.": ("5", "number"),
    r"It is $\boxed{-2}$ or $\boxed{1}$.": ("-2, 1", "expression"),
    # a mark that is not the end
    "The answer is 4 for the first. For both it is 8 and 2.": None,
    # no mark
    "He has 3 apples.\nTherefore, he needs 5 apples.": ("5", "number"),
    "Hence 48 + 16 = 64 points.": ("64", "number"),
    "They cost 2000/1000 = 2 cartons of 1L milk.": None,
    "They need 2 of the 5 apples.": None,
    "A proof by contradiction.": None,
}


@pytest.mark.parametrize("text", STATED)
def test_the_answer_of_a_solution(text: str) -> None:
    answer = find_answer(text, "How many?")
    assert (answer and (answer.answer, answer.kind)) == STATED[text]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("We add.\nThe answer is B", "B"),
        ("So the answer is 4.", "B"),
        ("The answer is 5.", None),
        ("It may be (B).", None),
    ],
)
def test_a_choice_is_told_by_its_letter_or_its_text(text: str, letter: str | None) -> None:
    answer = find_answer(text, "2 + 2?\nAnswer Choices: (A) 3 (B) 4")
    assert answer == (letter and ReferenceAnswer(letter, "choice", ["3", "4"]))


def test_a_printed_value() -> None:
    assert as_answer("33.333333333333336") == ReferenceAnswer("33.333333333333336", "number", [])
    assert as_answer("1e3").answer == "1000"
    assert as_answer("sqrt(2)/2") == ReferenceAnswer("sqrt(2)/2", "expression", [])
