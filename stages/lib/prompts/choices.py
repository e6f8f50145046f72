"""Write the choices of a question into its text, and read them back."""

from collections.abc import Sequence
from itertools import pairwise
from string import ascii_uppercase


def show_choices(choices: Sequence[str]) -> str:
    """Return choices as questions show them: ``(A) 3 (B) 4``."""
    lettered = zip(ascii_uppercase, choices, strict=False)
    return " ".join(f"({letter}) {choice}" for letter, choice in lettered)


def split_choices(question: str) -> list[str]:
    """Return the choices that a question shows: ``... Answer Choices: (A) 3 (B) 4``."""
    _, heading, text = question.partition("Answer Choices:")
    choices: list[str] = []
    if not heading or not text.lstrip().startswith("(A)"):
        return choices
    for letter, following in pairwise(ascii_uppercase):
        text = text.partition(f"({letter})")[2]
        choice, next_letter, _ = text.partition(f"({following})")
        choices.append(choice.strip())
        if not next_letter:
            break
    return choices
