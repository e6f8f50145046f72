"""Parse the paths ``ladder:N`` and ``ladder-bare:N`` of training data."""

from typing import NamedTuple


class LadderRows(NamedTuple):
    """Ladder problems as rows of a data set: ``per_rung`` of each rung, ``bare`` without steps."""

    per_rung: int
    bare: bool


def parse_ladder_path(path: str) -> LadderRows | None:
    """Return which rows of the ladder a path stands for, or None if it is not such a path."""
    kind, _, count = path.partition(":")
    if kind not in ("ladder", "ladder-bare"):
        return None
    return LadderRows(int(count), bare=kind == "ladder-bare")
