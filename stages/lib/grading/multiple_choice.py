"""Which option of a multiple-choice problem a text settles on."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from stages.lib.grading.extraction import find_claim, number_in_formula
from stages.lib.grading.numbers import read_numeral, same_number, tidy

UNKNOWN_CHOICES = "ABCDE"
"""The letters of a problem whose options are not given apart from its question."""

_PREFIX = r"(?:the\s+)?(?:(?:correct\s+)?(?:option|choice|letter)\s+)?"
LINE = 1000
"""Characters of a last line that may be the text of an option."""

# A capital before a word may be an article or a variable: "A dog", "I think", "E = mc^2".
_LEADING = re.compile(
    rf"(?i:{_PREFIX})(?:[(\[{{]\s*([A-Za-z])\s*[)\]}}]|([A-Za-z])(?=[).:,]|\s*$)"
    r"|([A-HJ-Z])(?=\s+[^-=<>+*/^]))"
)
_HEDGE = re.compile(r"[)\]}.:]?\s*(?:or|and|&|/|,)\s*(?:option\s+)?\(?[A-Z]\b(?!')")
_WITHIN = re.compile(r"\(([A-Z])\)|\b(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])\b")
_CONCLUSION = re.compile(
    r"\b(?:[Tt]herefore|[Tt]hus|[Hh]ence|[Ss]o),? .{0,400}? (?:is|are) (.+?)\.?$"
)
_ANYWHERE = re.compile(
    r"\A\s*([A-Za-z])(?:[.):]|\s*\Z)|\(([A-Za-z])\)|(?:(?<=\s)|^)\**([A-Z])[.):](?=[\s*]|$)"
    r"|\b(?:[Oo]ption:?\s|[Cc]hoice:?\s|[Aa]nswer)\s?\(?([A-Z])\b|^[ \t*]*([A-Z])[ \t*]*$"
    r"|\b([A-Z])\)?\s+is\s+(?:the\s+)?(?:(?:correct|right|best)\b|(?:answer|option|choice)\b)",
    re.MULTILINE,
)


def letters_of(choices: Sequence[str] | None) -> str:
    """Return the letters that name the options, from A."""
    return ascii_uppercase[: len(choices)] if choices else UNKNOWN_CHOICES


def find_option(text: str, choices: Sequence[str] | None) -> tuple[str, str]:
    """Return what a text answers, and the letter of that option or "" if it is none.

    What stands at the text's final mark is a letter, or the text or the value of
    exactly one option. Without a mark, the last line may be an option's text, with
    or without its letter, or conclude with one ("Therefore, x is 12"); else the last
    letter that stands alone counts, unless it ends a list of all options.
    """
    claim, rest = find_claim(text)
    if claim is not None:
        return _read(tidy(claim).strip(" \t\n$*'\""), choices)
    line = tidy(rest.strip().rpartition("\n")[2][:LINE]).strip(" $*")
    named, _, words = line.partition(" ")
    letter = _matching(words, choices or ())
    if letter and named.strip("().:") == letter:
        return letter, letter
    letter = "" if re.fullmatch(r"\W*[A-Za-z]\W*", line) else _matching(line, choices or ())
    if letter:
        return line, letter
    ending = _CONCLUSION.search(line)
    letter = _matching(ending[1], choices or ()) if ending else ""
    if ending and letter:
        return ending[1], letter
    last = _last_letter(rest, letters_of(choices))
    return last, last


def _read(answer: str, choices: Sequence[str] | None) -> tuple[str, str]:
    letters = letters_of(choices)
    leading = _LEADING.match(answer)
    if leading is None or leading[3]:
        by_text = _matching(answer, choices or ())
        if by_text:
            return answer, by_text
    if leading is not None:
        letter = next(letter for letter in leading.groups() if letter).upper()
        known = letter in letters and not _HEDGE.match(answer, leading.end())
        return (letter, letter) if known else (answer, "")
    within = {letter for pair in _WITHIN.findall(answer) for letter in pair if letter}
    letter = within.pop() if len(within) == 1 else ""
    return (letter, letter) if letter and letter in letters else (answer, "")


def _matching(answer: str, choices: Sequence[str]) -> str:
    """Return the letter of the one option that has the text, else the value, of an answer."""
    named = list(zip(ascii_uppercase, choices, strict=False))
    plain = _plain(answer)
    same = [letter for letter, choice in named if plain and _plain(choice) == plain]
    if not same:
        same = [letter for letter, choice in named if _same_value(answer, choice)]
    return same[0] if len(same) == 1 else ""


def _plain(text: str) -> str:
    return re.sub(r"[\s$*]+", "", tidy(text)).strip(".").casefold()


def _same_value(answer: str, choice: str) -> bool:
    ours, theirs = (read_numeral(number_in_formula(side)) for side in (answer, choice))
    return ours is not None and theirs is not None and same_number(ours, theirs)


def _last_letter(text: str, letters: str) -> str:
    found = [
        letter.upper()
        for match in _ANYWHERE.finditer(text)
        for letter in match.groups()
        if letter and letter.upper() in letters
    ]
    while found[-len(letters) :] == list(letters):
        del found[-len(letters) :]
    return found[-1] if found else ""
