"""Choose from sequences."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """Return ``count`` items at even distances, the first included; fewer items repeat."""
    return [items[i * len(items) // count] for i in range(count)]
