"""Worked solutions against texts written by hand, and every equation in them checked."""

import contextlib
import io
import re
from decimal import Decimal
from fractions import Fraction
from itertools import islice

import pytest

from stages.lib.data import ladder_solutions as write
from stages.lib.data.ladder import RUNGS
from stages.lib.data.ladder_solutions import WorkedProblem

BY_HAND = [
    (write.addition(7, 8), "What is 7 + 8?", "15",
     "7 + 8 = 15. The answer is 15.", "a = 7\nb = 8\nprint(a + b)"),
    (write.addition(3, 0), "What is 3 + 0?", "3",
     "3 + 0 = 3. The answer is 3.", "a = 3\nb = 0\nprint(a + b)"),
    (write.addition(47, 85), "What is 47 + 85?", "132",
     "47 + 80 = 127. 127 + 5 = 132. The answer is 132.", "a = 47\nb = 85\nprint(a + b)"),
    (write.addition(589, 305), "What is 589 + 305?", "894",
     "589 + 300 = 889. 889 + 5 = 894. The answer is 894.", "a = 589\nb = 305\nprint(a + b)"),
    (write.subtraction(9, 4), "What is 9 - 4?", "5",
     "9 - 4 = 5. The answer is 5.", "a = 9\nb = 4\nprint(a - b)"),
    (write.subtraction(4, 4), "What is 4 - 4?", "0",
     "4 - 4 = 0. The answer is 0.", "a = 4\nb = 4\nprint(a - b)"),
    (write.subtraction(3, 8), "What is 3 - 8?", "-5",
     "8 - 3 = 5, so 3 - 8 = -5. The answer is -5.", "a = 3\nb = 8\nprint(a - b)"),
    (write.subtraction(3, 4), "What is 3 - 4?", "-1",
     "4 - 3 = 1, so 3 - 4 = -1. The answer is -1.", "a = 3\nb = 4\nprint(a - b)"),
    (write.multiplication(7, 8), "What is 7 * 8?", "56",
     "7 * 8 = 56. The answer is 56.", "a = 7\nb = 8\nprint(a * b)"),
    (write.multiplication(7, 48), "What is 7 * 48?", "336",
     "7 * 40 = 280. 7 * 8 = 56. 280 + 56 = 336. The answer is 336.", "a = 7\nb = 48\nprint(a * b)"),
    (write.multiplication(59, 80), "What is 59 * 80?", "4720",
     "59 * 8 = 472. 59 * 80 = 4720. The answer is 4720.", "a = 59\nb = 80\nprint(a * b)"),
    (write.multiplication(47, 36), "What is 47 * 36?", "1692",
     "47 * 30 = 1410. 47 * 6 = 282. 1410 + 282 = 1692. The answer is 1692.",
     "a = 47\nb = 36\nprint(a * b)"),
    (write.chain([23, 45, 90, 67], ["+", "-", "+"]), "What is 23 + 45 - 90 + 67?", "45",
     "23 + 45 = 68. 68 - 90 = -22. -22 + 67 = 45. The answer is 45.", "print(23 + 45 - 90 + 67)"),
    (write.chain([7, 3, 4, 5], ["+", "*", "-"]), "What is 7 + 3 * 4 - 5?", "14",
     "3 * 4 = 12. 7 + 12 = 19. 19 - 5 = 14. The answer is 14.", "print(7 + 3 * 4 - 5)"),
    (write.chain([2, 7, 9, 4], ["-", "*", "*"]), "What is 2 - 7 * 9 * 4?", "-250",
     "7 * 9 = 63. 63 * 4 = 252. 2 - 252 = -250. The answer is -250.", "print(2 - 7 * 9 * 4)"),
    (write.linear_equation(5, 3, 23), "Solve for x: 5x + 3 = 23.", "4",
     "5x = 23 - 3 = 20. x = 20 / 5 = 4. The answer is 4.",
     "a = 5\nb = 3\nc = 23\nprint((c - b) // a)"),
    (write.linear_equation(3, -12, -3), "Solve for x: 3x - 12 = -3.", "3",
     "3x = -3 + 12 = 9. x = 9 / 3 = 3. The answer is 3.",
     "a = 3\nb = -12\nc = -3\nprint((c - b) // a)"),
    (write.linear_equation(-2, 11, -3), "Solve for x: 11 - 2x = -3.", "7",
     "2x = 11 + 3 = 14. x = 14 / 2 = 7. The answer is 7.",
     "a = -2\nb = 11\nc = -3\nprint((c - b) // a)"),
    (write.linear_equation(-4, 10, 2), "Solve for x: 10 - 4x = 2.", "2",
     "4x = 10 - 2 = 8. x = 8 / 4 = 2. The answer is 2.",
     "a = -4\nb = 10\nc = 2\nprint((c - b) // a)"),
    (write.greatest_divisor(36, 84), "Find the GCD of 36 and 84.", "12",
     "84 = 2 * 36 + 12. 36 = 3 * 12. The answer is 12.",
     "from math import gcd\nprint(gcd(36, 84))"),
    (write.least_multiple(12, 18), "Find the LCM of 12 and 18.", "36",
     "12 = 6 * 2. 18 = 6 * 3. 12 * 3 = 36. The answer is 36.",
     "from math import lcm\nprint(lcm(12, 18))"),
    (write.fraction(12, 18), "Simplify the fraction 12/18.", "2/3",
     "12 / 6 = 2. 18 / 6 = 3. 12/18 = 2/3. The answer is 2/3.",
     "from fractions import Fraction\nprint(Fraction(12, 18))"),
    (write.decimal_addition(Decimal("3.4"), Decimal("5.8")), "What is 3.4 + 5.8?", "9.2",
     "3 + 5 = 8. 0.4 + 0.8 = 1.2. 8 + 1.2 = 9.2. The answer is 9.2.",
     "a = 3.4\nb = 5.8\nprint(round(a + b, 1))"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("problem", "question", "answer", "solution", "program"),
    BY_HAND,
    ids=[case[1] for case in BY_HAND],
)
def test_texts_are_what_a_person_would_write(
    problem: WorkedProblem, question: str, answer: str, solution: str, program: str
) -> None:
    assert problem == WorkedProblem(question, answer, solution, program)


@pytest.mark.parametrize("name", RUNGS)
def test_every_equation_is_true_and_every_program_prints_the_answer(name: str) -> None:
    rung = RUNGS[name]
    for numbers in islice(rung.draw(17), 200):
        texts = rung.write(*numbers)
        *steps, ending = texts.solution.removesuffix(".").split(". ")
        assert ending == f"The answer is {texts.answer}"
        assert steps
        for equation in (part for step in steps for part in step.split(", so ")):
            sides = [value_of(side, x=texts.answer) for side in equation.split("=")]
            assert len(sides) >= 2, equation
            assert len(set(sides)) == 1, equation
        assert printed_by(texts.program) == texts.answer


@pytest.mark.parametrize("name", RUNGS)
def test_the_question_itself_has_the_answer(name: str) -> None:
    rung = RUNGS[name]
    for numbers in islice(rung.draw(23), 200):
        texts = rung.write(*numbers)
        if match := re.fullmatch(r"What is (.+)\?", texts.question):
            assert value_of(match[1]) == Fraction(texts.answer)
        elif match := re.fullmatch(r"Solve for x: (.+) = (.+)\.", texts.question):
            assert value_of(match[1], x=texts.answer) == value_of(match[2])
        elif match := re.fullmatch(r"Simplify the fraction (\d+)/(\d+)\.", texts.question):
            assert str(Fraction(int(match[1]), int(match[2]))) == texts.answer
        else:
            match = re.fullmatch(r"Find the (GCD|LCM) of (\d+) and (\d+)\.", texts.question)
            assert match is not None, texts.question
            a, b, answer = int(match[2]), int(match[3]), int(texts.answer)
            if match[1] == "GCD":
                assert answer == max(d for d in range(1, a + 1) if a % d == b % d == 0)
            else:
                assert answer == min(m for m in range(a, a * b + 1, a) if m % b == 0)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("sum-1-digit", r"What is \d \+ \d\? -?\d+"),
        ("difference-1-digit", r"What is \d - \d\? -?\d+"),
        ("product-1x1", r"What is \d \* \d\? -?\d+"),
        ("increment", r"What is [1-9]\d{1,2} \+ 1\? \d+"),
        ("decrement", r"What is [1-9]\d{1,2} - 1\? \d+"),
        ("product-with-10", r"What is [1-9]\d{1,2} \* 10\? [1-9]\d{1,2}0"),
        ("sum-2-and-1-digit", r"What is [1-9]\d \+ [1-9]\? \d+"),
        ("difference-2-and-1-digit", r"What is [1-9]\d - [1-9]\? \d+"),
        ("sum-3-terms", r"What is \d \+ \d \+ \d\? \d+"),
        ("product-1x2", r"What is [2-9] \* [1-9]\d\? -?\d+"),
        ("linear-equation", r"Solve for x: (\d+x [+-] \d+|\d+ - \d+x) = -?\d+\. -?\d+"),
        ("sum-2-digit", r"What is [1-9]\d \+ [1-9]\d\? -?\d+"),
        ("decimal-sum", r"What is \d\.[1-9] \+ \d\.[1-9]\? \d+\.[1-9]"),
        ("fraction", r"Simplify the fraction \d+/\d+\. \d+/\d+"),
        ("gcd", r"Find the GCD of \d+ and \d+\. ([2-9]|\d\d)"),
        ("lcm", r"Find the LCM of \d+ and \d+\. -?\d+"),
        ("sum-3-digit", r"What is [1-9]\d\d \+ [1-9]\d\d\? -?\d+"),
        ("mixed-precedence", r"What is .*[+-] \d+ \* .*\? -?\d+"),
        ("chain-4-terms", r"What is [1-9]\d( [+-] [1-9]\d){3}\? -?\d+"),
        ("product-2x2", r"What is [1-9]\d \* [1-9]\d\? -?\d+"),
    ],
)
def test_each_rung_draws_its_own_kind(name: str, pattern: str) -> None:
    rung = RUNGS[name]
    texts = [rung.write(*numbers) for numbers in islice(rung.draw(5), 200)]
    others = [text for text in texts if not re.fullmatch(pattern, f"{text.question} {text.answer}")]
    assert others == []


def value_of(expression: str, x: str = "") -> Fraction:
    exact = re.sub(r"(\d)x", r"\1 * x", expression)
    exact = re.sub(r"\d+(\.\d+)?", r"Fraction('\g<0>')", exact)
    return eval(exact.strip(), {"Fraction": Fraction, "x": Fraction(x) if x else None})


def printed_by(program: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})
    return printed.getvalue().strip()
