"""Which training texts overlap with evaluation texts, by shared runs of words.

Two uses: runs of 13 words as they are (Brown et al. 2020, GPT-3, appendix C),
and runs of 8 words after every number has become the same word, which finds
the same template with other numbers.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_LETTERS = r"[^\W\d_]+(?:'[^\W\d_]+)*"
WORD = re.compile(rf"{_NUMBER}|{_LETTERS}")
TOKEN = re.compile(rf"""{_NUMBER}|{_LETTERS}|[^\w\s.,;:?'"]|_""")

# Texts are lower-cased, so no word of theirs looks like it.
ANY_NUMBER = "N"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Places of two texts that share ``words``, as they were compared."""

    training: int
    evaluation: int
    words: str


def overlaps(
    training: Iterable[str], evaluation: Sequence[str], *, n: int, normalise_numbers: bool
) -> list[Overlap]:
    """Return each training text that overlaps, with the first evaluation text it does so with.

    They are in the order of ``training``, each text of it at most once. Texts overlap
    when they share ``n`` words in a row: numbers and lower-cased runs of letters, whatever
    stands between them; with ``normalise_numbers`` every number is the word ``N``. All of
    the shared row is told, from its first place in the training text.

    A text of fewer than ``n`` words overlaps only with one that is the same as
    a whole, up to case, spacing and punctuation. There signs such as + count,
    and numbers are kept even with ``normalise_numbers``: otherwise "What is
    3 + 4?" would overlap with every other sum and difference.

    Training texts are read once, one by one; memory grows with the evaluation texts alone.
    """
    against = [_words(text, n, normalise_numbers) for text in evaluation]
    places: dict[tuple[str, ...], tuple[int, int]] = {}
    for index, (words, length) in enumerate(against):
        for start, run in enumerate(_runs(words, length)):
            places.setdefault(run, (index, start))
    found = []
    for index, text in enumerate(training):
        words, length = _words(text, n, normalise_numbers)
        if not places.keys().isdisjoint(_runs(words, length)):
            runs = enumerate(_runs(words, length))
            shared = [(*places[run], start) for start, run in runs if run in places]
            first, there, here = min(shared, key=lambda place: (place[0], place[2]))
            common = _common(words[here:], against[first][0][there:])
            found.append(Overlap(index, first, " ".join(common)))
    return found


def _words(text: str, n: int, normalise_numbers: bool) -> tuple[list[str], int]:
    """Return the words of a text, and how many of them in a row make an overlap.

    Of a text with fewer than ``n`` words that is all of them, and of its signs.
    """
    straight = text.lower().replace("’", "'")
    words = WORD.findall(straight)
    if len(words) < n:
        tokens = [token.replace(",", "") for token in TOKEN.findall(straight)]
        return tokens, len(tokens)
    if normalise_numbers:
        return [ANY_NUMBER if word[0].isdecimal() else word for word in words], n
    return [word.replace(",", "") for word in words], n


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    if length == len(words):
        # A short text is one run with all its signs, however many they are.
        return iter([tuple(words)] if words else [])
    return zip(*(words[start:] for start in range(length)), strict=False)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the words that two texts share from their beginning on."""
    pairs = zip(ours, theirs, strict=False)
    return [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
