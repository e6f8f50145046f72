"""Streams of examples, drawn from cells in proportion to the cells' weights."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import numpy as np

from stages.lib.mixing.rules import Weights


class CellQueues:
    """The upcoming examples of each cell: freshly shuffled epochs, one after the other.

    ``cells`` has the examples of each cell. Yielded examples stay queued until taken, so that a
    plan may look ahead and then change its weights.
    """

    def __init__(self, cells: Sequence[Sequence[int]], *, seed: int) -> None:
        """Start with every example queued. Raises ValueError for a cell without an example."""
        for number, examples in enumerate(cells):
            if not examples:
                raise ValueError(f"cells: cell {number}: no example: expected at least one")
        self._cells = cells
        self._cell_of = {example: number for number, cell in enumerate(cells) for example in cell}
        self._queues: list[deque[int]] = [deque() for _ in cells]
        self._rngs = [np.random.default_rng([seed, number]) for number in range(len(cells))]

    def stream(self, weights: Weights, rng: np.random.Generator) -> Iterator[int]:
        """Yield examples without end, each in proportion to the weight of its cell.

        A cell of n examples and weight w is due every 1 / (n * w), from a random point in
        time on: over any stretch its share is exact to within one example.
        """
        rates = [len(cell) * weight for cell, weight in zip(self._cells, weights, strict=True)]
        phases = rng.random(len(rates))
        due = [
            (phase / rate, cell)
            for cell, (phase, rate) in enumerate(zip(phases, rates, strict=True))
            if rate > 0
        ]
        if not due:
            raise ValueError("weights: all 0: expected at least one above 0")
        heapq.heapify(due)
        positions = [count() for _ in rates]
        while True:
            time, cell = due[0]
            heapq.heapreplace(due, (time + 1 / rates[cell], cell))
            yield self._upcoming(cell, next(positions[cell]))

    def take(self, examples: Iterable[int]) -> None:
        """Remove examples that a stream has yielded from the queues."""
        for example in examples:
            self._queues[self._cell_of[example]].remove(example)

    def _upcoming(self, cell: int, position: int) -> int:
        queue = self._queues[cell]
        while len(queue) <= position:
            queue.extend(self._rngs[cell].permutation(np.array(self._cells[cell])).tolist())
        return queue[position]
