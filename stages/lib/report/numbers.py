"""Numbers as text: fixed decimals, percentages and p-values."""

from decimal import ROUND_HALF_UP, Decimal


def fixed(value: float, digits: int) -> str:
    """Return a number with fixed decimals; halves round away from zero.

    A half is one of the number as it is written, as in a table: 0.285 has one, though the
    nearest double is below it.
    """
    text = str(Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def percent(share: float) -> str:
    """Return a share in percent with one decimal, or with two where one would give 0.0."""
    exact = Decimal(str(share)) * 100
    return fixed(float(exact), 2 if 0 < abs(exact) < Decimal("0.05") else 1)


def p_value(p: float) -> str:
    """Return ``0.012``, or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else fixed(p, 3)
