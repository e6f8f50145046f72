"""Tokens per cell over time: a table that is written, and replayed by other runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.tables import read_csv
from stages.lib.mixing.cells import Cells, group_by_cell
from stages.lib.sft.batches import Plan
from stages.lib.sft.online import OnlinePlan

COLUMNS = ("step", "source", "prompting", "weight", "signal", "examples", "tokens")
"""``step`` is the first of a segment; ``weight`` and ``signal`` are empty without online mixing."""

# A plan made beforehand is divided into at most as many segments.
SEGMENTS = 48


def allocation(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each segment and cell: examples and supervised tokens, repeats counted.

    Online plans also have the weights of each segment and the signal that they follow.
    """
    cells, every = group_by_cell(plan.data.examples), _steps_per_segment(plan)
    rows: list[dict[str, Any]] = []
    for number, start in enumerate(range(0, len(plan.micro_batches), every * plan.per_step)):
        batches = plan.micro_batches[start : start + every * plan.per_step]
        taken = [example for batch in batches for example in batch]
        examples, tokens = _count(cells, taken, plan.data.supervised)
        weights = signals = [""] * len(cells.names)
        if isinstance(plan, OnlinePlan):
            segment = plan.segments[number]
            weights, signals = (_written(values) for values in (segment.weights, segment.signal))
        for cell, (source, prompting) in enumerate(cells.names):
            values = (weights[cell], signals[cell], examples[cell], tokens[cell])
            first = number * every + 1
            rows.append(dict(zip(COLUMNS, (first, source, prompting, *values), strict=True)))
    return rows


def read_trace(path: Path, cells: Cells) -> NDArray[np.float64]:
    """Return the weights of another run's segments, of shape (segments, cells).

    Raises ValueError naming the file if its cells are not these, or if it has no weights.
    """
    rows = read_csv(path)
    n = len(cells.names)
    names = [(row["source"], row["prompting"]) for row in rows]
    if len(rows) % n or names != cells.names * (len(rows) // n):
        raise ValueError(
            f"{path}: {len(set(names))} cells: expected the {n} of this run's examples"
        )
    if not all(row["weight"] for row in rows):
        raise ValueError(f"{path}: weight: empty: expected the weights of an online arm")
    return np.array([float(row["weight"]) for row in rows]).reshape(-1, n)


def _steps_per_segment(plan: Plan) -> int:
    if isinstance(plan, OnlinePlan):
        return plan.every
    return math.ceil(len(plan.micro_batches) / plan.per_step / SEGMENTS)


def _count(
    cells: Cells, taken: Sequence[int], supervised: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return how many examples, and supervised tokens, of each cell were taken."""
    cell_of = np.array([cells.cell_of[example] for example in taken])
    tokens = np.array([supervised[example] for example in taken])
    n = len(cells.names)
    return (
        np.bincount(cell_of, minlength=n).tolist(),
        np.bincount(cell_of, weights=tokens, minlength=n).astype(np.int64).tolist(),
    )


def _written(values: NDArray[np.float64]) -> list[str]:
    # Every digit, so that a replay has the same weights.
    return ["" if math.isnan(value) else repr(value) for value in values.tolist()]
