"""Loss of each example, and whether its response is exact, before the update.

The run keeps all observations. Whatever an online arm decides is a function of them, so a
resumed run reads them back and decides again what the interrupted one had decided.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILE = "observations.npz"


@dataclass(frozen=True)
class Observation:
    """The forward pass of one example in one optimizer step, before the step's update.

    ``loss`` is the negative log-likelihood of the example's supervised tokens, in nats.
    ``exact`` says whether each of them was the most probable one: greedy decoding would then
    have written exactly this response.
    """

    step: int
    example: int
    loss: float
    exact: bool


def save(folder: Path, observations: Iterable[Observation]) -> None:
    """Write observations into a checkpoint's folder, without loss of precision."""
    rows = list(observations)
    np.savez(
        folder / FILE,
        step=np.array([row.step for row in rows], dtype=np.int64),
        example=np.array([row.example for row in rows], dtype=np.int64),
        loss=np.array([row.loss for row in rows], dtype=np.float64),
        exact=np.array([row.exact for row in rows], dtype=np.bool_),
    )


def load(folder: Path) -> list[Observation]:
    """Read the observations in a checkpoint's folder."""
    with np.load(folder / FILE) as columns:
        names = ("step", "example", "loss", "exact")
        return [
            Observation(*row)
            for row in zip(*(columns[name].tolist() for name in names), strict=True)
        ]
