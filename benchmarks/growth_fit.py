"""From costs at several sizes to how they grow: a start and an exponent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar, nnls

LEAST_GROWTH = 0.1
"""A cost that grows by less than this share of its largest says nothing of an exponent."""

STEEPEST = 3.0


@dataclass(frozen=True)
class Fit:
    """A cost of ``start`` and a part that grows as the size to the power ``exponent``."""

    start: float
    exponent: float


def fit(rows: Sequence[int], costs: Sequence[float]) -> Fit | None:
    """Return a and c of the costs a + b * rows^c that are nearest, a and b at least 0.

    Nearest by the sum of squares of relative errors, as costs span orders of magnitude: a and
    b by non-negative least squares for each c of a grid from 0 to 3, and c then to a millionth
    between the grid's neighbours. The exponent is 0 for costs that hardly grow. None for fewer
    than three sizes, which fix no exponent.
    """
    if len(rows) < 3:
        return None
    sizes, taken = np.array(rows, dtype=float) / max(rows), np.array(costs, dtype=float)
    if taken.max() - taken.min() < LEAST_GROWTH * taken.max():
        return Fit(float(taken.mean()), 0.0)

    def at(exponent: float) -> tuple[float, float]:
        columns = np.stack([np.ones_like(sizes), sizes**exponent], axis=1) / taken[:, None]
        (start, _), missed = nnls(columns, np.ones_like(taken))
        return float(missed), float(start)

    grid = np.linspace(0.01, STEEPEST, 300)
    best = int(np.argmin([at(one)[0] for one in grid]))
    bounds = (grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])
    found = minimize_scalar(
        lambda one: at(one)[0], bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    exponent = float(found.x)
    return Fit(at(exponent)[1], exponent)
