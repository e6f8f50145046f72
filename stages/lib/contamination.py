"""Which training texts overlap with evaluation texts, by shared runs of words.

Two uses: runs of 13 words as they are (Brown et al. 2020, GPT-3, appendix C),
and runs of 8 words after every number has become the same word, which finds
the same template with other numbers.
"""

import re
from collections.abc import Sequence

TOKEN = re.compile(
    r"(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
    r"""|(?P<sign>[^\w\s.,;:?'"]|_)"""
)

ANY_NUMBER = "0"


def overlapping(
    training: Sequence[str], evaluation: Sequence[str], *, n: int, normalise_numbers: bool
) -> list[tuple[int, int]]:
    """Return pairs of a training text and the first evaluation text it overlaps with.

    The pairs hold indices, in the order of ``training``, each training text at
    most once. Texts overlap when they share ``n`` words in a row: numbers and
    lower-cased runs of letters, whatever stands between them.

    A text of fewer than ``n`` words overlaps only with one that is the same as
    a whole, up to case, spacing and punctuation. There signs such as + count,
    and numbers are kept even with ``normalise_numbers``: otherwise "What is
    3 + 4?" would overlap with every other sum and difference.
    """
    first: dict[tuple[str, ...], int] = {}
    for index, text in enumerate(evaluation):
        for run in _runs(text, n, normalise_numbers):
            first.setdefault(run, index)
    pairs = []
    for index, text in enumerate(training):
        shared = [first[run] for run in _runs(text, n, normalise_numbers) if run in first]
        if shared:
            pairs.append((index, min(shared)))
    return pairs


def _runs(text: str, n: int, normalise_numbers: bool) -> list[tuple[str, ...]]:
    straight = text.lower().replace("’", "'")
    tokens = [(match.lastgroup, match[0].replace(",", "")) for match in TOKEN.finditer(straight)]
    words = [
        ANY_NUMBER if normalise_numbers and kind == "number" else token
        for kind, token in tokens
        if kind != "sign"
    ]
    if len(words) < n:
        return [tuple(token for _, token in tokens)]
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
