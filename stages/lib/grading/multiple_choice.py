"""Extraction of the option that a text chooses in a multiple-choice problem."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from stages.lib.grading.extraction import find_marked_answer, number_in_formula
from stages.lib.grading.numbers import read_numeral, same_number, tidy

UNKNOWN_CHOICES = "ABCDE"
"""Letters for a problem whose options stand only in its question."""

_PREFIX = r"(?:the\s+)?(?:(?:correct\s+)?(?:option|choice|letter)\s+)?"
MAX_LINE = 1000
"""Characters of the last line that are compared with the options."""

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
    """Return the answer of a text, and the letter of the option that it matches, or "".

    The answer at the text's last mark is a letter, or the text or the value of exactly
    one option. Without a mark, the last line may be an option's text, with or without its
    letter, or conclude with one ("Therefore, x is 12"); else the last letter that stands
    alone counts, unless it ends a list of all options.
    """
    answer, rest = find_marked_answer(text)
    if answer is not None:
        return _read_answer(tidy(answer).strip(" \t\n$*'\""), choices)
    line = tidy(rest.strip().rpartition("\n")[2][:MAX_LINE]).strip(" $*")
    # "B a bicycle": a letter and the text of its option.
    first_word, _, words = line.partition(" ")
    letter = _match_option(words, choices or ())
    if letter and first_word.strip("().:") == letter:
        return letter, letter
    # A single letter is never the text of an option here: it names one.
    letter = "" if re.fullmatch(r"\W*[A-Za-z]\W*", line) else _match_option(line, choices or ())
    if letter:
        return line, letter
    conclusion = _CONCLUSION.search(line)
    letter = _match_option(conclusion[1], choices or ()) if conclusion else ""
    if conclusion and letter:
        return conclusion[1], letter
    last = _last_letter(rest, letters_of(choices))
    return last, last


def _read_answer(answer: str, choices: Sequence[str] | None) -> tuple[str, str]:
    letters = letters_of(choices)
    leading = _LEADING.match(answer)
    if leading is None or leading[3]:
        letter = _match_option(answer, choices or ())
        if letter:
            return answer, letter
    if leading is not None:
        letter = next(letter for letter in leading.groups() if letter).upper()
        is_choice = letter in letters and not _HEDGE.match(answer, leading.end())
        return (letter, letter) if is_choice else (answer, "")
    mentioned = {letter for pair in _WITHIN.findall(answer) for letter in pair if letter}
    letter = mentioned.pop() if len(mentioned) == 1 else ""
    return (letter, letter) if letter and letter in letters else (answer, "")


def _match_option(answer: str, choices: Sequence[str]) -> str:
    """Return the letter of the only option with the text, else the value, of an answer, or ""."""
    options = list(zip(ascii_uppercase, choices, strict=False))
    normalized = _normalize(answer)
    letters = [letter for letter, text in options if normalized and _normalize(text) == normalized]
    if not letters:
        letters = [letter for letter, text in options if _same_value(answer, text)]
    return letters[0] if len(letters) == 1 else ""


def _normalize(text: str) -> str:
    return re.sub(r"[\s$*]+", "", tidy(text)).strip(".").casefold()


def _same_value(answer: str, choice: str) -> bool:
    candidate, reference = (read_numeral(number_in_formula(text)) for text in (answer, choice))
    return candidate is not None and reference is not None and same_number(candidate, reference)


def _last_letter(text: str, letters: str) -> str:
    mentioned = [
        letter.upper()
        for match in _ANYWHERE.finditer(text)
        for letter in match.groups()
        if letter and letter.upper() in letters
    ]
    # A list of all options at the end only repeats them.
    while mentioned[-len(letters) :] == list(letters):
        del mentioned[-len(letters) :]
    return mentioned[-1] if mentioned else ""
