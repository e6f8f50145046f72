"""The cells of a mixture: the examples of one source with one prompting."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib.core.schema import ExampleInfo


@dataclass(frozen=True)
class Cells:
    """The cells of a run's examples.

    ``names`` has the source and the prompting of each cell, sorted; ``members`` the indices
    of its examples; ``cell_of`` the cell of each example.
    """

    names: list[tuple[str, str]]
    members: list[list[int]]
    cell_of: list[int]


def group_by_cell(examples: Sequence[ExampleInfo]) -> Cells:
    """Group examples by source and prompting."""
    name_of = [(example.source, example.prompting) for example in examples]
    names = sorted(set(name_of))
    number = {name: index for index, name in enumerate(names)}
    cell_of = [number[name] for name in name_of]
    members: list[list[int]] = [[] for _ in names]
    for index, cell in enumerate(cell_of):
        members[cell].append(index)
    return Cells(names, members, cell_of)
