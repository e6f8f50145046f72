r"""Numbers as people and models write them, read exactly.

A numeral may carry a sign, a currency, thousands separators, a fraction (``3/4``,
``1 1/2``, ``\frac{3}{4}``), a power of ten, a percent sign, a unit and markup.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 1000
"""Characters of a numeral, and the largest power of ten, that are still read."""

# What makes a number part of something else: ``3*4``, ``3x``, ``3:1``, ``3,4``, ``3 or 4``.
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
    # A sign belongs to a number unless something that it could be subtracted from stands before.
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
# Words after a number; a single letter is a unit only if one is written so (``3 m``, not ``3 a``).
_WORD = r"[A-Za-z°µ]+(?:\s?\^?\{?[23]\}?|[²³])?\.?"
_UNIT = re.compile(
    rf"(?!!)\s*(?![A-Za-z](?<![mgshlLJNWVKCF])(?![A-Za-z]))(?:{_WORD}(?:[ /,-]+{_WORD})*)?\W*"
)
_QUICK = re.compile(r"\s*(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?\s*")
_SEPARATORS = str.maketrans("", "", ", '_")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number as it was written.

    ``value`` is exact and, for ``percent``, the number before the sign;
    ``decimal`` tells that it was written with a point, so that it may be rounded.
    """

    value: Fraction
    decimal: bool
    percent: bool

    def __str__(self) -> str:
        """Return the one spelling that equal numerals share, as ``1234.5`` or ``-1/3``."""
        return _spell(self.value) + ("%" if self.percent else "")


@dataclass(frozen=True, slots=True)
class Found:
    """A number in a tidied text, from ``start``.

    ``numeral`` is None where it cannot be read (``1/0``, or too long), and for a
    part of something else, as in ``3*4``, ``3:1`` or ``3 or 4``.
    """

    numeral: Numeral | None
    start: int


def tidy(text: str) -> str:
    """Return the text with plain digits, signs and spaces and without markup around words."""
    text = text.translate(_CHARACTERS)
    if "\\" in text or "{" in text:
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
    return _BOLD.sub("", text) if "**" in text else text


def first_number(tidied: str) -> Found | None:
    """Return the first number of a tidied text."""
    match = _NUMERAL.search(tidied)
    if match is None:
        return None
    joined = _JOINED.match(tidied, match.end()) or _JOINED_BEFORE.search(
        tidied[max(0, match.start() - 3) : match.start()]
    )
    return Found(None if joined else _read(match), match.start())


def last_numeral(tidied: str) -> Numeral | None:
    """Return the last numeral of a tidied text; None if there is none or it cannot be read."""
    last = None
    for match in _NUMERAL.finditer(tidied):
        last = match
    return None if last is None else _read(last)


def bare_numeral(text: str) -> Numeral | None:
    """Read a text that is a single numeral and nothing else but markup and a full stop."""
    quick = _QUICK.fullmatch(text)
    if quick is not None:
        return _quick_numeral(quick)
    if len(text) > 2 * LONGEST:
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
    if bare is not None or len(text) > 2 * LONGEST:
        return bare
    tidied = tidy(text).strip()
    match = _NUMERAL.match(tidied.lstrip("(["))
    if match is None or _JOINED.match(match.string, match.end()):
        return None
    return _read(match) if _UNIT.fullmatch(match.string, match.end()) else None


def same_number(candidate: Numeral, reference: Numeral) -> bool:
    """Tell whether a numeral has the value of the reference.

    Fractions and integers compare exactly. If either has a decimal point, both
    are rounded to six decimal places, as Math-Verify does: it absorbs the noise
    of floating point and the usual shortening of 1/3 to 0.333333, and never the
    distance between two answers that a problem could tell apart. It is not
    relative to the reference's own precision, because 0.45 would then pass for
    0.5. Math-Verify differs in three places. It does not round against an
    integer, so that 5 is not 5.000000000000002; here it is. Six places mean
    little at the ends of the scale: a reference below a thousandth asks for
    agreement to four digits (there 1e-9 is 2e-9), and large values may differ by
    the noise of doubles, 1e-15.

    A percent sign is a unit (50% is 50). Only in a reference it may also be a
    factor (0.5 is 50%): otherwise both 0.5% and 50% would pass for 0.5.
    """
    decimal = candidate.decimal or reference.decimal
    if _same_value(candidate.value, reference.value, decimal):
        return True
    fraction = reference.percent and not candidate.percent
    return fraction and _same_value(candidate.value, reference.value / 100, decimal)


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
    sign, whole, places = match.groups()
    if places is None:
        return Numeral(Fraction(int(sign + whole)), False, False)
    value = Fraction(int(sign + whole + places), 10 ** len(places))
    return Numeral(value, True, False)


def _read(match: re.Match[str]) -> Numeral | None:
    if match.end() - match.start() > LONGEST:
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


def _quotient(above: Fraction, below: Fraction) -> Fraction | None:
    return above / below if below else None


def _read_latex(match: re.Match[str]) -> Fraction | None:
    whole = re.match(r"[0-9]+", match["latex"])
    above, below = (part for part in match.groups()[2:6] if part is not None)
    try:
        part = _quotient(_simple(above), _simple(below))
    except ValueError:
        return None
    if whole is None or part is None:
        return part
    return int(whole[0]) + part


def _read_mixed(match: re.Match[str]) -> Fraction | None:
    whole, above, below = (int(digits) for digits in re.findall(r"[0-9]+", match["mixed"]))
    return whole + Fraction(above, below) if above < below else None


def _read_slash(match: re.Match[str]) -> Fraction | None:
    above, below = match["slash"].split("/")
    return _quotient(_simple(above.strip()), _simple(below.strip()))


def _read_power(match: re.Match[str]) -> Fraction | None:
    digits = re.match(_SIMPLE, match["power"])
    exponent = re.search(r"[-+]?[0-9]+(?=[\s}]*$)", match["power"])
    if digits is None or exponent is None or len(exponent[0]) > 4:
        return None
    power = int(exponent[0])
    return _simple(digits[0]) * Fraction(10) ** power if abs(power) <= LONGEST else None


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
    below, places = value.denominator, 0
    while below % 10 == 0:
        below, places = below // 10, places + 1
    for factor in (2, 5):
        while below % factor == 0:
            below, places = below // factor, places + 1
    if value.denominator == 1 or below != 1:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0")
    return f"-{text}" if value < 0 else text
