"""Write the questions, worked solutions and programs of ladder problems.

Each public function writes one kind of problem as a learner would solve it on paper: short true
equations, one step after the other, and "The answer is X." at the end. Questions have fewer than
eight words, so that two of them with different numbers never count as overlapping texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd


@dataclass(frozen=True, slots=True)
class WorkedProblem:
    """A question, its answer, its worked solution, and a program that prints the answer."""

    question: str
    answer: str
    solution: str
    program: str


def addition(a: int, b: int) -> WorkedProblem:
    """Write ``a + b``, with ``b`` (from 0) added digit by digit, the highest first."""
    by_digit = [int(digit) * 10**power for power, digit in enumerate(reversed(str(b)))]
    parts = [part for part in reversed(by_digit) if part] or [0]
    steps, total = _left_to_right([a, *parts], ["+"] * len(parts))
    return _binary(a, "+", b, total, steps)


def subtraction(a: int, b: int) -> WorkedProblem:
    """Write ``a - b``; for a negative difference, ``b - a`` comes first."""
    steps = [f"{a} - {b} = {a - b}"]
    if a < b:
        steps = [f"{b} - {a} = {b - a}, so {a} - {b} = {a - b}"]
    return _binary(a, "-", b, a - b, steps)


def multiplication(a: int, b: int) -> WorkedProblem:
    """Write ``a * b`` with ``b`` below 100 split into tens and ones."""
    tens, ones = b // 10 * 10, b % 10
    if tens == 0:
        return _binary(a, "*", b, a * b, [f"{a} * {b} = {a * b}"])
    if ones == 0:
        steps = [f"{a} * {tens // 10} = {a * tens // 10}", f"{a} * {b} = {a * b}"]
        return _binary(a, "*", b, a * b, steps)
    steps = [
        f"{a} * {tens} = {a * tens}",
        f"{a} * {ones} = {a * ones}",
        f"{a * tens} + {a * ones} = {a * b}",
    ]
    return _binary(a, "*", b, a * b, steps)


def chain(terms: Sequence[int], operators: Sequence[str]) -> WorkedProblem:
    """Write ``terms[0] operators[0] terms[1] ...`` with the operators + - *.

    ``operators`` is one shorter than ``terms``. Products are computed first.
    """
    steps: list[str] = []
    # The terms that remain to be added after the products.
    sums = [terms[0]]
    signs = []
    for operator, term in zip(operators, terms[1:], strict=True):
        if operator == "*":
            steps.append(f"{sums[-1]} * {term} = {sums[-1] * term}")
            sums[-1] *= term
        else:
            sums.append(term)
            signs.append(operator)
    additions, value = _left_to_right(sums, signs)
    expression = str(terms[0]) + "".join(
        f" {operator} {term}" for operator, term in zip(operators, terms[1:], strict=True)
    )
    return _worked(f"What is {expression}?", value, steps + additions, f"print({expression})")


def linear_equation(coefficient: int, constant: int, right: int) -> WorkedProblem:
    """Write the solution of ``coefficient * x + constant = right`` in whole numbers.

    A negative coefficient is written after a positive constant: ``12 - 5x = 2``.
    """
    size = abs(coefficient)
    if coefficient > 0:
        left = f"{size}x {_signed(constant)}"
        product = f"{right} {_signed(-constant)}"
    else:
        left = f"{constant} - {size}x"
        product = f"{constant} {_signed(-right)}"
    value = (right - constant) // coefficient
    steps = [f"{size}x = {product} = {size * value}", f"x = {size * value} / {size} = {value}"]
    program = f"a = {coefficient}\nb = {constant}\nc = {right}\nprint((c - b) // a)"
    return _worked(f"Solve for x: {left} = {right}.", value, steps, program)


def greatest_divisor(a: int, b: int) -> WorkedProblem:
    """Write the greatest common divisor of two different numbers by Euclid's algorithm."""
    steps = []
    big, small = max(a, b), min(a, b)
    while small:
        quotient, remainder = divmod(big, small)
        steps.append(f"{big} = {quotient} * {small}" + (f" + {remainder}" if remainder else ""))
        big, small = small, remainder
    program = f"from math import gcd\nprint(gcd({a}, {b}))"
    return _worked(f"Find the GCD of {a} and {b}.", big, steps, program)


def least_multiple(a: int, b: int) -> WorkedProblem:
    """Write the least common multiple of two numbers from their greatest common divisor."""
    divisor = gcd(a, b)
    multiple = a * b // divisor
    steps = [
        f"{a} = {divisor} * {a // divisor}",
        f"{b} = {divisor} * {b // divisor}",
        f"{a} * {b // divisor} = {multiple}",
    ]
    program = f"from math import lcm\nprint(lcm({a}, {b}))"
    return _worked(f"Find the LCM of {a} and {b}.", multiple, steps, program)


def fraction(numerator: int, denominator: int) -> WorkedProblem:
    """Write how a fraction is reduced by the greatest common divisor of its two numbers."""
    divisor = gcd(numerator, denominator)
    reduced = f"{numerator // divisor}/{denominator // divisor}"
    steps = [
        f"{numerator} / {divisor} = {numerator // divisor}",
        f"{denominator} / {divisor} = {denominator // divisor}",
        f"{numerator}/{denominator} = {reduced}",
    ]
    program = f"from fractions import Fraction\nprint(Fraction({numerator}, {denominator}))"
    question = f"Simplify the fraction {numerator}/{denominator}."
    return _worked(question, reduced, steps, program)


def decimal_addition(a: Decimal, b: Decimal) -> WorkedProblem:
    """Write ``a + b`` for numbers with one decimal place whose sum is not a whole number."""
    whole = int(a) + int(b)
    tenths = a % 1 + b % 1
    steps = [
        f"{int(a)} + {int(b)} = {whole}",
        f"{a % 1} + {b % 1} = {tenths}",
        f"{whole} + {tenths} = {a + b}",
    ]
    program = f"a = {a}\nb = {b}\nprint(round(a + b, 1))"
    return _worked(f"What is {a} + {b}?", a + b, steps, program)


def _left_to_right(terms: Sequence[int], signs: Sequence[str]) -> tuple[list[str], int]:
    steps = []
    total = terms[0]
    for sign, term in zip(signs, terms[1:], strict=True):
        value = total + term if sign == "+" else total - term
        steps.append(f"{total} {sign} {term} = {value}")
        total = value
    return steps, total


def _signed(number: int) -> str:
    return f"- {-number}" if number < 0 else f"+ {number}"


def _binary(a: int, operator: str, b: int, value: int, steps: Sequence[str]) -> WorkedProblem:
    program = f"a = {a}\nb = {b}\nprint(a {operator} b)"
    return _worked(f"What is {a} {operator} {b}?", value, steps, program)


def _worked(
    question: str, answer: int | str | Decimal, steps: Sequence[str], program: str
) -> WorkedProblem:
    solution = " ".join(f"{step}." for step in [*steps, f"The answer is {answer}"])
    return WorkedProblem(question, str(answer), solution, program)
