"""The problems of the arithmetic ladder: worked solutions, and the numbers in them.

Each public function writes one kind of problem the way a learner would do it
on paper: short true equations, one step after the other, and "The answer is X."
at the end. Questions stay under eight words, so that two of them with other
numbers never count as the same text in the search for contamination.

``RUNGS`` joins them to streams of numbers, drawn by the package reasoning-gym
where it has the kind of problem.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import count, pairwise
from math import gcd
from typing import Any

import numpy as np

from stages.lib.records import AnswerKind

Numbers = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Worked:
    """A question, its answer, the steps in words, and Python that prints the answer."""

    question: str
    answer: str
    solution: str
    program: str


@dataclass(frozen=True, slots=True)
class Rung:
    """One kind of ladder problem.

    ``draw`` yields the numbers of problems without end from a seed; ``write``
    makes the texts of one problem from them.
    """

    topic: str
    draw: Callable[[int], Iterator[Numbers]]
    write: Callable[..., Worked]
    kind: AnswerKind = "number"


def addition(a: int, b: int) -> Worked:
    """Write ``a + b``, with ``b`` (from 0) added place by place, the highest first."""
    places = [int(digit) * 10**place for place, digit in enumerate(reversed(str(b)))]
    parts = [part for part in reversed(places) if part] or [0]
    steps, total = _left_to_right([a, *parts], ["+"] * len(parts))
    return _binary(a, "+", b, total, steps)


def subtraction(a: int, b: int) -> Worked:
    """Write ``a - b``; a negative difference is turned round first."""
    steps = [f"{a} - {b} = {a - b}"]
    if a < b:
        steps = [f"{b} - {a} = {b - a}, so {a} - {b} = {a - b}"]
    return _binary(a, "-", b, a - b, steps)


def multiplication(a: int, b: int) -> Worked:
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


def chain(terms: Sequence[int], operators: Sequence[str]) -> Worked:
    """Write ``terms[0] operators[0] terms[1] ...`` over + - *: products first.

    ``operators`` is one shorter than ``terms``.
    """
    steps: list[str] = []
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


def linear_equation(coefficient: int, constant: int, right: int) -> Worked:
    """Write the solution of ``coefficient * x + constant = right`` in whole numbers.

    A negative coefficient stands behind a positive constant: ``12 - 5x = 2``.
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


def greatest_divisor(a: int, b: int) -> Worked:
    """Write the greatest common divisor of two different numbers by Euclid's division."""
    steps = []
    big, small = max(a, b), min(a, b)
    while small:
        quotient, rest = divmod(big, small)
        steps.append(f"{big} = {quotient} * {small}" + (f" + {rest}" if rest else ""))
        big, small = small, rest
    program = f"from math import gcd\nprint(gcd({a}, {b}))"
    return _worked(f"Find the GCD of {a} and {b}.", big, steps, program)


def least_multiple(a: int, b: int) -> Worked:
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


def fraction(numerator: int, denominator: int) -> Worked:
    """Write how a fraction is reduced, in one division above and below the line."""
    divisor = gcd(numerator, denominator)
    above, below = numerator // divisor, denominator // divisor
    steps = [
        f"{numerator} / {divisor} = {above}",
        f"{denominator} / {divisor} = {below}",
        f"{numerator}/{denominator} = {above}/{below}",
    ]
    program = f"from fractions import Fraction\nprint(Fraction({numerator}, {denominator}))"
    question = f"Simplify the fraction {numerator}/{denominator}."
    return _worked(question, f"{above}/{below}", steps, program)


def decimal_addition(a: Decimal, b: Decimal) -> Worked:
    """Write ``a + b`` for numbers with one decimal place whose sum is not whole."""
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


def _binary(a: int, operator: str, b: int, value: int, steps: Sequence[str]) -> Worked:
    program = f"a = {a}\nb = {b}\nprint(a {operator} b)"
    return _worked(f"What is {a} {operator} {b}?", value, steps, program)


def _worked(
    question: str, answer: int | str | Decimal, steps: Sequence[str], program: str
) -> Worked:
    solution = " ".join(f"{step}." for step in [*steps, f"The answer is {answer}"])
    return Worked(question, str(answer), solution, program)


def _drawn(dataset: str, seed: int, **config: Any) -> Iterator[dict[str, Any]]:
    """Yield what reasoning-gym says about its problems of one kind, without end."""
    # Importing the package takes over a second: it brings a plotting library.
    from reasoning_gym.factory import create_dataset

    problems = create_dataset(dataset, seed=seed, **config)
    for index in count():
        yield problems[index]["metadata"]


def _expressions(
    seed: int, *, dataset: str, terms: int, digits: int, **config: Any
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the terms and the operators between them of written expressions."""
    size = {"min_terms": terms, "max_terms": terms, "min_digits": digits, "max_digits": digits}
    for drawn in _drawn(dataset, seed, **size, **config):
        tokens = drawn["expression"].split()
        yield tokens[::2], tokens[1::2]


def _pairs(seed: int, *, dataset: str, operator: str, digits: int) -> Iterator[Numbers]:
    for terms, operators in _expressions(seed, dataset=dataset, terms=2, digits=digits):
        if operators == [operator]:
            yield int(terms[0]), int(terms[1])


def _products_1x2(seed: int) -> Iterator[Numbers]:
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2, 10)), int(generator.integers(10, 100))


def _decimal_pairs(seed: int) -> Iterator[Numbers]:
    places = {"min_decimal_places": 1, "max_decimal_places": 1}
    for terms, operators in _expressions(
        seed, dataset="decimal_chain_sum", terms=2, digits=1, **places
    ):
        a, b = (Decimal(term) for term in terms)
        if operators == ["+"] and (a + b) % 1:
            yield a, b


def _chains(seed: int) -> Iterator[Numbers]:
    for terms, operators in _expressions(seed, dataset="chain_sum", terms=4, digits=2):
        yield [int(term) for term in terms], operators


def _mixed_chains(seed: int) -> Iterator[Numbers]:
    # The package works these out from left to right, so only its expressions are taken.
    flat = {"operators": ("+", "-", "*"), "allow_parentheses": False}
    for terms, operators in _expressions(
        seed, dataset="basic_arithmetic", terms=4, digits=1, **flat
    ):
        if any(first != "*" and second == "*" for first, second in pairwise(operators)):
            yield [int(term) for term in terms], operators


def _equations(seed: int) -> Iterator[Numbers]:
    # Only with "*" among the operators does x get a coefficient; at weight 0 it joins no terms.
    sides = {"operators": ("+", "-", "*"), "operators_weights": [0.5, 0.5, 0.0]}
    values = {"min_terms": 2, "max_terms": 2, "min_value": 2, "max_value": 12}
    for drawn in _drawn("simple_equations", seed, **sides, **values):
        equation = drawn["equation"].replace(" ", "").replace(drawn["variable"], "x")
        if match := re.fullmatch(r"(\d+)\*x([+-]\d+)=(-?\d+)", equation):
            yield int(match[1]), int(match[2]), int(match[3])
        elif match := re.fullmatch(r"(\d+)-(\d+)\*x=(-?\d+)", equation):
            yield -int(match[2]), int(match[1]), int(match[3])


def _divisors(seed: int) -> Iterator[Numbers]:
    for drawn in _drawn("gcd", seed, min_value=2, max_value=60):
        if drawn["result"] > 1 and len(set(drawn["numbers"])) == 2:
            yield tuple(drawn["numbers"])


def _multiples(seed: int) -> Iterator[Numbers]:
    for drawn in _drawn("lcm", seed, min_value=2, max_value=25):
        if len(set(drawn["numbers"])) == 2:
            yield tuple(drawn["numbers"])


def _fractions(seed: int) -> Iterator[Numbers]:
    parts = {"max_value": 15, "min_factor": 2, "max_factor": 9, "styles": ("plain",)}
    for drawn in _drawn("fraction_simplification", seed, **parts):
        if drawn["simplified_denominator"] > 1:
            yield drawn["numerator"], drawn["denominator"]


_sums = partial(_pairs, dataset="chain_sum", operator="+")
_differences = partial(_pairs, dataset="chain_sum", operator="-")
_products = partial(_pairs, dataset="products", operator="*")

RUNGS: dict[str, Rung] = {
    "sum-1-digit": Rung("addition", partial(_sums, digits=1), addition),
    "difference-1-digit": Rung("subtraction", partial(_differences, digits=1), subtraction),
    "product-1x1": Rung("multiplication", partial(_products, digits=1), multiplication),
    "product-1x2": Rung("multiplication", _products_1x2, multiplication),
    "linear-equation": Rung("algebra", _equations, linear_equation),
    "sum-2-digit": Rung("addition", partial(_sums, digits=2), addition),
    "decimal-sum": Rung("decimals", _decimal_pairs, decimal_addition),
    "fraction": Rung("fractions", _fractions, fraction, kind="expression"),
    "gcd": Rung("number theory", _divisors, greatest_divisor),
    "lcm": Rung("number theory", _multiples, least_multiple),
    "sum-3-digit": Rung("addition", partial(_sums, digits=3), addition),
    "mixed-precedence": Rung("mixed", _mixed_chains, chain),
    "chain-4-terms": Rung("mixed", _chains, chain),
    "product-2x2": Rung("multiplication", partial(_products, digits=2), multiplication),
}
"""The rungs of the ladder, in the order in which a small model is expected to fail them."""
