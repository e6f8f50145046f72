r"""Exact reading and comparison of numbers as people and models write them.

A numeral may carry a sign, a currency, thousands separators, a fraction (``3/4``,
``1 1/2``, ``\frac{3}{4}``), a power of ten, a percent sign, a unit and markup.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000
"""Longest numeral, and largest power of ten, that is read."""

# What follows a number in an expression: ``3*4``, ``3x``, ``3:1``, ``3,4``, ``3 or 4``.
_JOINED = re.compile(
    r",[0-9]|[a-z](?<![mgshlkcpd])(?![A-Za-z])|\s*(?:[-+*/^×·÷:]\s*[0-9(\\{.]|[-+*]\s*[a-z](?![A-Za-z])|\*\*|\\(?:times|cdot|div|sqrt|pi|pm|frac)(?![a-z])|[√π_²³^]"
    r"|x\s*[0-9]|[xyz](?![A-Za-z])|(?:or|to)\s+[-$]?[0-9])"
)

_JOINED_BEFORE = re.compile(r"(?:[\^*/√{]|[A-Za-z]\()\s?$")

_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_CHARACTERS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000`", " ")
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | {wide: chr(ord(wide) - 0xFEE0) for wide in "（），．：％＋＝／＄"}
    | {vulgar: f" {plain}" for vulgar, plain in _VULGAR.items()}
    | {"\u2044": "/", "\u200b": None, "\ufeff": None, "\r": None}
)

_MARKUP: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\[,;:> ]|\\quad(?![a-z])|~"), " "),
    (re.compile(r"\\!|\\(?:left|right|displaystyle)(?![a-zA-Z])"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), ""),
    (re.compile(r"\\(?:text(?:bf|rm|it)?|math(?:rm|bf|it)|mbox)\s*\{([^{}]*)\}"), r" \1 "),
)
_BOLD = re.compile(r"(?<![0-9A-Za-z)\]])\*\*(?=\S)|(?<=\S)\*\*(?![0-9A-Za-z(])")

_GROUPED = r"[0-9]{1,3}(?:[, '_][0-9]{3})+(?![0-9])|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
_WHOLE = rf"(?:{_GROUPED}|[0-9]++)"
_SIMPLE = rf"(?:{_WHOLE}(?:\.[0-9]++)?|\.[0-9]++)"
_PART = r"(?:\{\s*([-+]?[0-9.,]++)\s*\}|([0-9]))"
_NUMERAL = re.compile(
    # A sign belongs to the number unless a term to subtract from stands before it.
    r"(?P<sign>(?<![0-9A-Za-z_)\]}%.])(?:(?<![0-9A-Za-z)\]}%]\s)[-+]\s|[-+]))?+"
    r"(?:[$€£¥₹]\s?)?"
    r"(?<![0-9A-Za-z_])(?:"
    rf"(?P<latex>(?:[0-9]++\s*+)?\\frac\s*{_PART}\s*{_PART})"
    r"|(?P<mixed>[0-9]++\s+(?:and\s+)?[0-9]++\s?/\s?[0-9]++)"
    rf"|(?P<slash>{_SIMPLE}\s?/\s?(?:{_SIMPLE}))"
    rf"|(?P<power>{_SIMPLE}(?:[eE][-+]?[0-9]++|\s*(?:\\times|\\cdot|[×·*x])\s*10\s*"
    r"(?:\^|\*\*)\s*(?:\{\s*[-+]?[0-9]++\s*\}|[-+]?[0-9]++)))"
    r"|(?P<foreign>[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]++|[0-9]{1,3}(?:\.[0-9]{3}){2,})"
    rf"|(?P<simple>{_SIMPLE})"
    r")(?P<percent>\s*(?:%|per\s?cent\b|pct\b))?"
)
# Words after a number; of single letters only the symbols of units (``3 m``, not ``3 a``).
_WORD = r"[A-Za-z°µ]+(?:\s?\^?\{?[23]\}?|[²³])?\.?"
_UNIT = re.compile(
    rf"(?!!)\s*(?![A-Za-z](?<![mgshlLJNWVKCF])(?![A-Za-z]))(?:{_WORD}(?:[ /,-]+{_WORD})*)?\W*"
)
_QUICK = re.compile(r"\s*(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?\s*")
_SEPARATORS = str.maketrans("", "", ", '_")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number and its notation.

    ``value`` is exact; for ``percent`` it is the number before the sign. ``decimal``: the
    number was written with a decimal point, so it may be rounded.
    """

    value: Fraction
    decimal: bool
    percent: bool

    def __str__(self) -> str:
        """Return the canonical spelling, such as ``1234.5`` or ``-1/3``."""
        return _spell(self.value) + ("%" if self.percent else "")


@dataclass(frozen=True, slots=True)
class NumberMatch:
    """A number in a tidied text, and its first position.

    ``numeral`` is None if the number cannot be read (``1/0``, or too long) or is part of
    an expression, as in ``3*4``, ``3:1`` or ``3 or 4``.
    """

    numeral: Numeral | None
    start: int


def tidy(text: str) -> str:
    """Return the text with ASCII digits, signs and spaces, and without markup around words."""
    text = text.translate(_CHARACTERS)
    if "\\" in text or "{" in text:
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
    return _BOLD.sub("", text) if "**" in text else text


def first_number(tidied: str) -> NumberMatch | None:
    """Return the first number of a tidied text, None if there is none."""
    match = _NUMERAL.search(tidied)
    if match is None:
        return None
    joined = _JOINED.match(tidied, match.end()) or _JOINED_BEFORE.search(
        tidied[max(0, match.start() - 3) : match.start()]
    )
    return NumberMatch(None if joined else _read(match), match.start())


def last_numeral(tidied: str) -> Numeral | None:
    """Return the last numeral of a tidied text; None if there is none or it cannot be read."""
    last = None
    for match in _NUMERAL.finditer(tidied):
        last = match
    return None if last is None else _read(last)


def bare_numeral(text: str) -> Numeral | None:
    """Read a text that is one numeral with, at most, markup and a full stop; else None."""
    quick = _QUICK.fullmatch(text)
    if quick is not None:
        return _quick_numeral(quick)
    if len(text) > 2 * MAX_CHARACTERS:
        return None
    stripped = tidy(text).strip(" \t\n$*").removesuffix(".").rstrip(" $")
    match = _NUMERAL.fullmatch(stripped)
    return None if match is None else _read(match)


def parse_number(text: str) -> Fraction | None:
    """Read a text that is one number, with or without a unit; None if it is not.

    A percent sign is a unit: ``50%`` is 50.
    """
    numeral = read_numeral(text)
    return None if numeral is None else numeral.value


def read_numeral(text: str) -> Numeral | None:
    """Read a text that is one number, with or without a unit; None if it is not."""
    bare = bare_numeral(text)
    if bare is not None or len(text) > 2 * MAX_CHARACTERS:
        return bare
    tidied = tidy(text).strip()
    match = _NUMERAL.match(tidied.lstrip("(["))
    if match is None or _JOINED.match(match.string, match.end()):
        return None
    return _read(match) if _UNIT.fullmatch(match.string, match.end()) else None


def same_number(candidate: Numeral, reference: Numeral) -> bool:
    """Return whether a numeral has the value of the reference.

    Fractions and integers compare exactly. If either has a decimal point, both are rounded to six
    decimal places, as in Math-Verify. This absorbs floating-point noise and the usual shortening of
    1/3 to 0.333333, but no difference that matters to a problem. The tolerance does not depend on
    the reference's own precision, because 0.45 would then equal 0.5. Three rules differ from
    Math-Verify. Math-Verify does not round against an integer, so for it 5 is not
    5.000000000000002; here it is. A reference below 0.001 must agree to four digits (in Math-Verify
    1e-9 equals 2e-9). Large values may differ by the noise of doubles, a relative 1e-15.

    A percent sign is a unit (50% is 50). Only in a reference may it also be a factor (0.5
    is 50%): otherwise both 0.5% and 50% would equal 0.5.
    """
    decimal = candidate.decimal or reference.decimal
    if _same_value(candidate.value, reference.value, decimal):
        return True
    may_be_share = reference.percent and not candidate.percent
    return may_be_share and _same_value(candidate.value, reference.value / 100, decimal)


def _same_value(value: Fraction, reference: Fraction, decimal: bool) -> bool:
    if value == reference or not decimal:
        return value == reference
    size = abs(reference)
    difference = abs(value - reference)
    if 0 < size < Fraction(1, 1000):
        return difference * 2000 <= size
    return difference <= size / 10**15 or (
        difference * 10**6 <= 1 and round(value, 6) == round(reference, 6)
    )


def _quick_numeral(match: re.Match[str]) -> Numeral:
    sign, whole, decimals = match.groups()
    if decimals is None:
        return Numeral(Fraction(int(sign + whole)), decimal=False, percent=False)
    value = Fraction(int(sign + whole + decimals), 10 ** len(decimals))
    return Numeral(value, decimal=True, percent=False)


def _read(match: re.Match[str]) -> Numeral | None:
    if match.end() - match.start() > MAX_CHARACTERS:
        return None
    kind = match.lastgroup if match.lastgroup != "percent" else None
    kind = kind or next(name for name in _READERS if match[name])
    value = _READERS[kind](match)
    if value is None:
        return None
    negative = (match["sign"] or "").startswith("-")
    decimal = kind in ("simple", "slash", "power", "foreign") and bool(
        re.search(r"\.[0-9]|[eE]", match[kind])
    )
    return Numeral(-value if negative else value, decimal, match["percent"] is not None)


def _simple(text: str) -> Fraction:
    return Fraction(text.translate(_SEPARATORS))


def _quotient(numerator: Fraction, denominator: Fraction) -> Fraction | None:
    return numerator / denominator if denominator else None


def _read_latex(match: re.Match[str]) -> Fraction | None:
    whole = re.match(r"[0-9]+", match["latex"])
    # Each operand of \frac is in braces or a single digit: two of the four groups match.
    numerator, denominator = (part for part in match.groups()[2:6] if part is not None)
    try:
        quotient = _quotient(_simple(numerator), _simple(denominator))
    except ValueError:
        return None
    if whole is None or quotient is None:
        return quotient
    return int(whole[0]) + quotient


def _read_mixed(match: re.Match[str]) -> Fraction | None:
    numbers = (int(digits) for digits in re.findall(r"[0-9]+", match["mixed"]))
    whole, numerator, denominator = numbers
    return whole + Fraction(numerator, denominator) if numerator < denominator else None


def _read_slash(match: re.Match[str]) -> Fraction | None:
    numerator, denominator = match["slash"].split("/")
    return _quotient(_simple(numerator.strip()), _simple(denominator.strip()))


def _read_power(match: re.Match[str]) -> Fraction | None:
    digits = re.match(_SIMPLE, match["power"])
    exponent = re.search(r"[-+]?[0-9]+(?=[\s}]*$)", match["power"])
    if digits is None or exponent is None or len(exponent[0]) > 4:
        return None
    power = int(exponent[0])
    return _simple(digits[0]) * Fraction(10) ** power if abs(power) <= MAX_CHARACTERS else None


def _read_foreign(match: re.Match[str]) -> Fraction:
    return Fraction(match["foreign"].replace(".", "").replace(",", "."))


_READERS: dict[str, Callable[[re.Match[str]], Fraction | None]] = {
    "latex": _read_latex,
    "mixed": _read_mixed,
    "slash": _read_slash,
    "power": _read_power,
    "foreign": _read_foreign,
    "simple": lambda match: _simple(match["simple"]),
}


def _spell(value: Fraction) -> str:
    # A fraction is a finite decimal if its denominator has no prime factors but 2 and 5.
    rest, n_decimals = value.denominator, 0
    for factor in (10, 2, 5):
        while rest % factor == 0:
            rest, n_decimals = rest // factor, n_decimals + 1
    if value.denominator == 1 or rest != 1:
        return str(value)
    scaled = abs(value.numerator) * 10**n_decimals // value.denominator
    digits = str(scaled).rjust(n_decimals + 1, "0")
    text = f"{digits[:-n_decimals]}.{digits[-n_decimals:]}".rstrip("0")
    return f"-{text}" if value < 0 else text
