"""What counts as steps, and as a stated answer."""

import pytest

from stages.lib.analysis.steps import measure_style

QUESTION = "What is 125 * 45 + 678? Show your work."


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("The answer is 6303.", False),
        ("6303", False),
        ("6303.\n#### 6303", False),
        (r"It is \boxed{6303}.", False),
        ("125 * 45 = 5625. The answer is 6303.", True),
        ("125 x 45 = 5,625, so the answer is 6303.", True),
        ("125 × 45 = $5625\n#### 6303", True),
        (r"$125 \times 45 = 5625$, so \boxed{6303}.", True),
        (r"\frac{3}{4} = 0.75. The answer is 0.75.", True),
        ("25% of 80 = 20. The answer is 20.", True),
        ("47 = 5 * 9 + 2. The answer is 2.", True),
        ("2x = 8, x = 8 / 2. The answer is 4.", True),
        ("The answer is 125 * 45 + 678 = 6303.", False),
        ("First multiply 125 by 45. That is 5625, and adding 678 gives more.", True),
        ("To solve this we need to think. It is a classic example. The answer is 7.", False),
        ("We add 678 at the end. The answer is 6303.", False),
        ("x = 5. The answer is 5.", False),
        ("```python\nprint(125 * 45 = 5625)\nprint(678)\n```", False),
        ("```python\na = 5 * 4 = 20", False),
        ("", False),
    ],
)
def test_steps_compute_before_the_answer(text: str, steps: bool) -> None:
    assert measure_style(text, QUESTION)[0] is steps


def test_repeating_the_question_is_no_step() -> None:
    question = "Solve for x: 3x + 4 = 10."
    assert measure_style("We solve 3x+4 = 10. The answer is 2.", question) == (False, True)
    assert measure_style("3x = 10 - 4 = 6. The answer is 2.", question) == (True, True)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("5625 + 678 = 6303. The answer is 6303.", True),
        ("#### 6303\n", True),
        (r"So it is $\boxed{6303}$.", True),
        ("The answer is 6303. Let me check that.", False),
        ("5625 + 678 = 6303", False),
        ("", False),
    ],
)
def test_the_answer_is_the_last_thing_said(text: str, stated: bool) -> None:
    assert measure_style(text, QUESTION)[1] is stated
