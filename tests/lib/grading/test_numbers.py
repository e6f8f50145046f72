"""Numbers are read exactly, and compared as Math-Verify compares them."""

import logging
import random
from fractions import Fraction

import pytest
from math_verify import parse, verify

from stages.lib.grading.numbers import Numeral, bare_numeral, parse_number, same_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        (" -1,234.50 ", Fraction(-2469, 2)),
        ("12 apples.", Fraction(12)),
        ("$3", Fraction(3)),
        ("50%", Fraction(50)),
        ("3/4", Fraction(3, 4)),
        ("1 1/2", Fraction(3, 2)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        ("1.5e-3", Fraction(3, 2000)),
        ("12 m^2", Fraction(12)),
        ("(5)", Fraction(5)),
        ("3a", None),
        ("3 + 4", None),
        ("9 - x", None),
        ("5!", None),
        ("3:1", None),
        ("3, 4", None),
        ("1/0", None),
        ("4 10/3", None),
        ("1e5000", None),
        ("9" * 5000, None),
        ("twelve", None),
        ("", None),
    ],
)
def test_number_is_parsed(text: str, value: Fraction | None) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("candidate", "reference", "same"),
    [
        ("0.1", "1/10", True),
        ("0.3333333", "1/3", True),
        ("0.333332", "1/3", False),
        ("0.3333335", "1/3", False),
        ("1/3", "0.333333", True),
        ("333333/1000000", "1/3", False),
        ("2.0000001", "2", True),
        ("2.000002", "2", False),
        ("0.00012345", "0.00012346", True),
        ("0.00012345", "0.00012365", False),
        ("0", "0.0000001", False),
        ("0.0000001", "0", True),
        ("300000000000.00006", "300000000000", True),
        ("300000000001", "300000000000", False),
        ("50%", "50", True),
        ("0.5", "50%", True),
        ("50", "50%", True),
        ("5", "50%", False),
        ("50%", "0.5", False),
        ("0.5%", "0.5", True),
    ],
)
def test_numbers_are_compared(candidate: str, reference: str, same: bool) -> None:
    assert same_number(numeral(candidate), numeral(reference)) is same


def numeral(text: str) -> Numeral:
    number = bare_numeral(text)
    assert number is not None, text
    return number


def random_numeral(rng: random.Random) -> str:
    sign = rng.choice(["", "", "-"])
    form = rng.randrange(6)
    if form == 0:
        return f"{sign}{rng.randrange(10 ** rng.randint(1, 8))}"
    if form == 1:
        return f"{sign}{rng.randrange(1000, 10 ** rng.randint(4, 8)):,}"
    if form == 2:
        return f"{sign}{rng.uniform(0.01, 10 ** rng.randint(0, 6)):.{rng.randint(1, 8)}f}"
    if form == 3:
        return rf"{sign}\frac{{{rng.randrange(1, 200)}}}{{{rng.randrange(1, 200)}}}"
    if form == 4:
        return f"{sign}{rng.randrange(1, 50)}/{rng.randrange(1, 50)}"
    return f"{sign}{rng.uniform(1000, 10**7):,.2f}"


def respell(rng: random.Random, text: str) -> str:
    """Return another spelling of a number, a number close to it, or another number."""
    value = numeral(text).value
    form = rng.randrange(6)
    if form == 0:
        return text
    if form == 1:
        sign = "-" if value < 0 else ""
        return rf"{sign}\frac{{{abs(value.numerator) * 3}}}{{{value.denominator * 3}}}"
    if form == 2:
        return f"{float(value):.{rng.randint(2, 9)}f}"
    if form == 3:
        return f"{float(value) + rng.choice([-1, 1]) * 10 ** -rng.randint(1, 8):.9f}"
    if form == 4:
        return f"{float(value):,.7f}"
    return random_numeral(rng)


def is_almost_whole(candidate: Numeral, reference: Numeral) -> bool:
    """Return whether Math-Verify does not round this pair: 5.0000000001 and 5."""
    exact = [side for side in (candidate, reference) if not side.decimal]
    return any(side.value.denominator == 1 for side in exact) and 0 < abs(
        candidate.value - reference.value
    ) < Fraction(1, 10**6)


def test_plain_numbers_compare_as_in_math_verify() -> None:
    logging.disable(logging.CRITICAL)
    rng = random.Random(20261121)
    outcomes = set()
    n_almost_whole = 0
    for _ in range(400):
        reference = random_numeral(rng)
        candidate = respell(rng, reference)
        same = same_number(numeral(candidate), numeral(reference))
        same_in_math_verify = verify(parse(f"${reference}$"), parse(f"${candidate}$"))
        if is_almost_whole(numeral(candidate), numeral(reference)):
            n_almost_whole += same and not same_in_math_verify
        else:
            assert same == same_in_math_verify, (candidate, reference)
        outcomes.add(same)
    logging.disable(logging.NOTSET)
    assert outcomes == {True, False}
    assert 0 < n_almost_whole < 50
