"""Choices from sequences, by hand."""

import pytest

from stages.lib.core.sequences import evenly_spaced


@pytest.mark.parametrize(
    ("count", "expected"), [(0, ""), (1, "a"), (2, "ac"), (3, "abc"), (4, "abcd"), (6, "aabccd")]
)
def test_items_are_at_even_distances(count: int, expected: str) -> None:
    assert "".join(evenly_spaced("abcd", count)) == expected
