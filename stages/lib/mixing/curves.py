"""Learning curves of the cells, and where the rest of a run raises accuracy most.

The mean loss of a fresh response is taken as a power of the examples n of its cell that the run
has trained on, l(n) = a * n^(-alpha), and accuracy as exp(-scale * l(n)). Arrays have the shape
(cells,).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float]
"""A number of examples, and the mean loss there."""


@dataclass(frozen=True)
class Curves:
    """The logarithms of a, and the exponents alpha."""

    log_a: Floats
    alpha: Floats

    def accuracy(self, n: Floats, *, scale: float) -> Floats:
        """Return the accuracies after ``n`` examples of each cell."""
        return np.exp(-scale * np.exp(self.log_a - self.alpha * np.log(n)))


def fit_curves(points: Sequence[Sequence[Point]]) -> Curves:
    """Fit each cell's curve by least squares in logarithms.

    Exponents are shrunk toward the pooled one: a cell's slope is averaged with that of all cells,
    as if the latter had been seen in as much spread of log n as a cell has on average. They are
    at least 0. Raises ValueError for a cell with fewer than two points.
    """
    means, products, squares = [], [], []
    for number, cell in enumerate(points):
        if len(cell) < 2:
            raise ValueError(f"cell {number}: {len(cell)} points: expected at least 2")
        x, y = np.log(np.maximum(np.array(cell), np.finfo(np.float64).tiny)).T
        means.append((x.mean(), y.mean()))
        products.append(((x - x.mean()) * (y - y.mean())).sum())
        squares.append(((x - x.mean()) ** 2).sum())
    product, square = np.array(products), np.array(squares)
    pooled = -product.sum() / square.sum()
    alpha = np.maximum((pooled * square.mean() - product) / (square.mean() + square), 0.0)
    mean_x, mean_y = np.array(means).T
    return Curves(mean_y + alpha * mean_x, alpha)


def spend(
    curves: Curves, n: Floats, tokens: Floats, budget: float, *, scale: float, chunk: int = 4
) -> Floats:
    """Return how many more examples of each cell raise the sum of accuracies most.

    ``n`` examples of each cell were seen; one of a cell costs ``tokens``; ``budget`` tokens
    are left. A curve of accuracy is S-shaped, so the next few examples of a hard cell may gain
    nothing although many would. So each cell offers its best mean gain per token over a chunk,
    two, four, ... of them, and the best offer is taken, until the budget is spent.
    """
    n_more = np.zeros_like(n)
    while budget > 0:
        max_examples = max(budget / tokens.min(), chunk)
        sizes = chunk * 2.0 ** np.arange(int(np.log2(max_examples / chunk)) + 1)
        now = curves.accuracy(n + n_more, scale=scale)
        then = np.array([curves.accuracy(n + n_more + size, scale=scale) for size in sizes])
        costs = sizes[:, None] * tokens
        rates = np.where(costs <= max(budget, costs.min()), (then - now) / costs, -1.0)
        if rates.max() <= 0:  # nothing is expected to improve: the same for all
            return n_more + budget / tokens.sum()
        size, cell = np.unravel_index(rates.argmax(), rates.shape)
        n_more[cell] += sizes[size]
        budget -= costs[size, cell]
    return n_more
