"""Draw the numbers of ladder problems.

They come from the package reasoning-gym if it has the kind of problem. Every stream is without end.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import count, pairwise
from typing import Any

import numpy as np

Numbers = tuple[Any, ...]


def _metadata(dataset: str, seed: int, **config: Any) -> Iterator[dict[str, Any]]:
    """Yield the metadata of reasoning-gym's problems of one kind."""
    # Importing the package takes over a second, because it imports a plotting library.
    from reasoning_gym.factory import create_dataset

    problems = create_dataset(dataset, seed=seed, **config)
    for index in count():
        yield problems[index]["metadata"]


def _expressions(
    seed: int, *, dataset: str, terms: int, digits: int, **config: Any
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the terms of expressions, and the operators between them."""
    size = {"min_terms": terms, "max_terms": terms, "min_digits": digits, "max_digits": digits}
    for metadata in _metadata(dataset, seed, **size, **config):
        tokens = metadata["expression"].split()
        yield tokens[::2], tokens[1::2]


def _pairs(seed: int, *, dataset: str, operator: str, digits: int) -> Iterator[Numbers]:
    for terms, operators in _expressions(seed, dataset=dataset, terms=2, digits=digits):
        if operators == [operator]:
            yield int(terms[0]), int(terms[1])


def products_1x2(seed: int) -> Iterator[Numbers]:
    """Yield pairs of a factor with one digit and a factor with two."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2, 10)), int(rng.integers(10, 100))


def with_second(seed: int, *, second: int) -> Iterator[Numbers]:
    """Yield pairs of a number of two or three digits and ``second``."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(10, 1000)), second


def two_and_one_digit(seed: int) -> Iterator[Numbers]:
    """Yield pairs of a number with two digits and one from 1 to 9."""
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(10, 100)), int(rng.integers(1, 10))


def decimal_pairs(seed: int) -> Iterator[Numbers]:
    """Yield pairs of numbers with one decimal place whose sum is not a whole number."""
    decimals = {"min_decimal_places": 1, "max_decimal_places": 1}
    for terms, operators in _expressions(
        seed, dataset="decimal_chain_sum", terms=2, digits=1, **decimals
    ):
        a, b = (Decimal(term) for term in terms)
        if operators == ["+"] and (a + b) % 1:
            yield a, b


def chains(seed: int) -> Iterator[Numbers]:
    """Yield four terms of up to two digits and the signs between them."""
    for terms, operators in _expressions(seed, dataset="chain_sum", terms=4, digits=2):
        yield [int(term) for term in terms], operators


def digit_sums(seed: int) -> Iterator[Numbers]:
    """Yield three digits, to be added."""
    for terms, operators in _expressions(seed, dataset="chain_sum", terms=3, digits=1):
        if operators == ["+", "+"]:
            yield [int(term) for term in terms], operators


def mixed_chains(seed: int) -> Iterator[Numbers]:
    """Yield four digits, and operators with a product after a sum or difference."""
    # The package evaluates these from left to right, so only its expressions are used.
    flat = {"operators": ("+", "-", "*"), "allow_parentheses": False}
    for terms, operators in _expressions(
        seed, dataset="basic_arithmetic", terms=4, digits=1, **flat
    ):
        if any(first != "*" and second == "*" for first, second in pairwise(operators)):
            yield [int(term) for term in terms], operators


def equations(seed: int) -> Iterator[Numbers]:
    """Yield a, b, c of equations a·x + b = c."""
    # x gets a coefficient only if "*" is among the operators; at weight 0 it joins no terms.
    sides = {"operators": ("+", "-", "*"), "operators_weights": [0.5, 0.5, 0.0]}
    values = {"min_terms": 2, "max_terms": 2, "min_value": 2, "max_value": 12}
    for metadata in _metadata("simple_equations", seed, **sides, **values):
        equation = metadata["equation"].replace(" ", "").replace(metadata["variable"], "x")
        if match := re.fullmatch(r"(\d+)\*x([+-]\d+)=(-?\d+)", equation):
            yield int(match[1]), int(match[2]), int(match[3])
        elif match := re.fullmatch(r"(\d+)-(\d+)\*x=(-?\d+)", equation):
            yield -int(match[2]), int(match[1]), int(match[3])


def divisors(seed: int) -> Iterator[Numbers]:
    """Yield pairs of numbers up to 60 with a common divisor above 1."""
    for metadata in _metadata("gcd", seed, min_value=2, max_value=60):
        if metadata["result"] > 1 and len(set(metadata["numbers"])) == 2:
            yield tuple(metadata["numbers"])


def multiples(seed: int) -> Iterator[Numbers]:
    """Yield pairs of different numbers up to 25."""
    for metadata in _metadata("lcm", seed, min_value=2, max_value=25):
        if len(set(metadata["numbers"])) == 2:
            yield tuple(metadata["numbers"])


def fractions(seed: int) -> Iterator[Numbers]:
    """Yield numerators and denominators that can be reduced, but not to whole numbers."""
    parts = {"max_value": 15, "min_factor": 2, "max_factor": 9, "styles": ("plain",)}
    for metadata in _metadata("fraction_simplification", seed, **parts):
        if metadata["simplified_denominator"] > 1:
            yield metadata["numerator"], metadata["denominator"]


sums = partial(_pairs, dataset="chain_sum", operator="+")

differences = partial(_pairs, dataset="chain_sum", operator="-")

products = partial(_pairs, dataset="products", operator="*")
