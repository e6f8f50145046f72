"""Fit how a cost grows with size: a constant start and an exponent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar, nnls

LEAST_GROWTH = 0.1
"""A cost that grows by less than this share of its maximum has no measurable exponent."""

STEEPEST = 3.0


@dataclass(frozen=True)
class Fit:
    """A constant cost ``start``, and the ``exponent`` of the part that grows with size."""

    start: float
    exponent: float


def fit(rows: Sequence[int], costs: Sequence[float]) -> Fit | None:
    """Fit costs by a + b * rows^c with a and b at least 0; return a and c.

    The fit minimizes the sum of squared relative errors, since costs span orders of magnitude.
    a and b come from non-negative least squares for each c of a grid from 0 to 3; c is then
    refined to a millionth between the neighbors of the best grid point. The exponent is 0 for
    costs that hardly grow. Returns None for fewer than three sizes, which determine no exponent.
    """
    if len(rows) < 3:
        return None
    sizes, values = np.array(rows, dtype=float) / max(rows), np.array(costs, dtype=float)
    if values.max() - values.min() < LEAST_GROWTH * values.max():
        return Fit(float(values.mean()), 0.0)

    def solve(exponent: float) -> tuple[float, float]:
        columns = np.stack([np.ones_like(sizes), sizes**exponent], axis=1) / values[:, None]
        (start, _), residual = nnls(columns, np.ones_like(values))
        return float(residual), float(start)

    grid = np.linspace(0.01, STEEPEST, 300)
    best = int(np.argmin([solve(exponent)[0] for exponent in grid]))
    bounds = (grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])
    optimum = minimize_scalar(
        lambda exponent: solve(exponent)[0],
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-6},
    )
    exponent = float(optimum.x)
    return Fit(solve(exponent)[1], exponent)
