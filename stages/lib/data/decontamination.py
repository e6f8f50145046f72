"""Find training texts that share runs of words with evaluation texts.

Two uses: runs of 13 words as they are (Brown et al. 2020, GPT-3, appendix C), and runs of 8 words
with every number replaced by the same word, which finds the same template with other numbers.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_LETTERS = r"[^\W\d_]+(?:'[^\W\d_]+)*"
_WORD = re.compile(rf"{_NUMBER}|{_LETTERS}")
_WORD_OR_SIGN = re.compile(rf"""{_NUMBER}|{_LETTERS}|[^\w\s.,;:?'"]|_""")
# Texts are lower-cased, so none of their words is equal to it.
_ANY_NUMBER = "N"


@dataclass(frozen=True, slots=True)
class OverlappingPair:
    """The indices of two texts that share ``words``, as they were compared."""

    training: int
    evaluation: int
    words: str


def find_overlaps(
    training: Iterable[str], evaluation: Sequence[str], *, n: int, mask_numbers: bool
) -> list[OverlappingPair]:
    """Return each training text that overlaps, with the first evaluation text that it overlaps.

    They are in the order of ``training``, each text at most once. Texts overlap when they
    share ``n`` words in a row: numbers and lower-cased runs of letters, whatever is between
    them; with ``mask_numbers`` every number is the word ``N``. ``words`` of a pair is the whole
    shared run, starting at its first occurrence in the training text.

    A text of fewer than ``n`` words overlaps only with one that is the same as a whole, up to case,
    spacing and punctuation. Then signs such as + count, and numbers are kept even with
    ``mask_numbers``: otherwise "What is 3 + 4?" would overlap with every other sum and difference.

    Training texts are read once, one by one; memory grows with the evaluation texts only.
    """
    benchmark_words = [_words(text, n, mask_numbers) for text in evaluation]
    # Each run of the evaluation texts, with the first text that has it and its start there.
    first_occurrence: dict[tuple[str, ...], tuple[int, int]] = {}
    for index, (words, length) in enumerate(benchmark_words):
        for start, run in enumerate(_runs(words, length)):
            first_occurrence.setdefault(run, (index, start))
    overlaps = []
    for index, text in enumerate(training):
        words, length = _words(text, n, mask_numbers)
        # Most texts share nothing: this test is fast and keeps no runs in memory.
        if first_occurrence.keys().isdisjoint(_runs(words, length)):
            continue
        shared = [
            (*first_occurrence[run], start)
            for start, run in enumerate(_runs(words, length))
            if run in first_occurrence
        ]
        benchmark_index, benchmark_start, start = min(
            shared, key=lambda match: (match[0], match[2])
        )
        benchmark_text = benchmark_words[benchmark_index][0]
        common = _common_prefix(words[start:], benchmark_text[benchmark_start:])
        overlaps.append(OverlappingPair(index, benchmark_index, " ".join(common)))
    return overlaps


def _words(text: str, n: int, mask_numbers: bool) -> tuple[list[str], int]:
    """Return the words of a text, and how many of them in a row make an overlap.

    For a text with fewer than ``n`` words these are all its words and signs.
    """
    lowered = text.lower().replace("’", "'")
    words = _WORD.findall(lowered)
    if len(words) < n:
        tokens = [token.replace(",", "") for token in _WORD_OR_SIGN.findall(lowered)]
        return tokens, len(tokens)
    if mask_numbers:
        return [_ANY_NUMBER if word[0].isdecimal() else word for word in words], n
    return [word.replace(",", "") for word in words], n


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    if length == len(words):
        # A short text is one run with all its signs, however many there are.
        return iter([tuple(words)] if words else [])
    return zip(*(words[start:] for start in range(length)), strict=False)


def _common_prefix(first: Sequence[str], second: Sequence[str]) -> list[str]:
    pairs = zip(first, second, strict=False)
    return [word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
