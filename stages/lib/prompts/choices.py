"""Options in the text of a question: written out, and read back."""

from collections.abc import Sequence
from itertools import pairwise
from string import ascii_uppercase


def show_choices(choices: Sequence[str]) -> str:
    """Return options as questions show them: ``(A) 3 (B) 4``."""
    named = zip(ascii_uppercase, choices, strict=False)
    return " ".join(f"({letter}) {choice}" for letter, choice in named)


def split_choices(question: str) -> list[str]:
    """Return the options that a question shows: ``... Answer Choices: (A) 3 (B) 4``."""
    _, shown, text = question.partition("Answer Choices:")
    choices: list[str] = []
    if not shown or not text.lstrip().startswith("(A)"):
        return choices
    for letter, following in pairwise(ascii_uppercase):
        text = text.partition(f"({letter})")[2]
        choice, more, _ = text.partition(f"({following})")
        choices.append(choice.strip())
        if not more:
            break
    return choices
