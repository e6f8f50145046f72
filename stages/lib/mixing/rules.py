"""Cell weights from observations.

A cell is what the mixture can tell apart: the problems of one source with one prompting. A
weight says how often an example of the cell is drawn, relative to one of a cell of weight 1.
All arrays have the shape (cells,).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stages.lib.mixing.cells import Cells
from stages.lib.mixing.curves import fit_curves, spend
from stages.lib.mixing.observations import Observation
from stages.lib.params.strategies import (
    FrontierArm,
    MasteryArm,
    MeasuredGroup,
    OnlineGroup,
    PlannedArm,
)
from stages.lib.params.training import Train

Weights = NDArray[np.float64]


class Rule(Protocol):
    """What decides the weights of the cells."""

    def observe(self, cell: int, observation: Observation) -> None:
        """Take in one more observation, in the order of the run."""
        ...

    def weights(self, segment: int) -> Weights:
        """Return the weights for a segment of the run; the first is 0."""
        ...

    def signal(self) -> Weights:
        """Return what the weights follow, by cell: nan where nothing is known."""
        ...


class DiscountedMean:
    """The mean of a series, in which a value counts half as much after ``half_life`` others."""

    def __init__(self, half_life: float) -> None:
        """Start with no value."""
        self.count = 0
        self._decay = 0.5 ** (1 / half_life)
        self._sum = 0.0
        self._total = 0.0

    def add(self, value: float) -> None:
        """Add the next value of the series."""
        self.count += 1
        self._sum = self._sum * self._decay + value
        self._total = self._total * self._decay + 1

    def value(self) -> float:
        """Return the mean; nan before the first value."""
        return self._sum / self._total if self.count else math.nan


class _Online:
    """A rule that follows the fresh examples of each cell.

    An example is fresh the first time that the run trains on it: what the model shows then
    is not memory of that example. Weights are equal until each cell has had
    ``warmup_examples``: before, the model learns what a response looks like at all.
    """

    def __init__(self, cells: int, arm: OnlineGroup) -> None:
        """Start with nothing observed."""
        self._floor = arm.floor
        self._warmup = arm.warmup_examples
        self._n_fresh = [0] * cells
        self._seen: set[int] = set()

    def observe(self, cell: int, observation: Observation) -> None:
        """Take in an observation, if its example is fresh."""
        if observation.example not in self._seen:
            self._seen.add(observation.example)
            self._n_fresh[cell] += 1
            self._add(cell, observation)

    def weights(self, segment: int) -> Weights:
        """Return floor + (1 - floor) * need, need being between 0 and 1; 1 in the warm-up."""
        if min(self._n_fresh) < self._warmup:
            return np.ones(len(self._n_fresh))
        return self._floor + (1 - self._floor) * self._need(segment)

    def _add(self, cell: int, observation: Observation) -> None:
        raise NotImplementedError

    def _need(self, segment: int) -> Weights:
        raise NotImplementedError


class _Measured(_Online):
    """A rule that follows a discounted mean of one value of each fresh example."""

    def __init__(self, cells: int, arm: MeasuredGroup) -> None:
        """Start with nothing observed."""
        super().__init__(cells, arm)
        self._means = [DiscountedMean(arm.half_life) for _ in range(cells)]

    def signal(self) -> Weights:
        """Return the discounted mean by cell."""
        return np.array([mean.value() for mean in self._means])

    def _add(self, cell: int, observation: Observation) -> None:
        self._means[cell].add(self._value(observation))

    def _value(self, observation: Observation) -> float:
        raise NotImplementedError


class Frontier(_Measured):
    """Trains most where more tokens raise accuracy most.

    Where a cell's loss falls as a power of its tokens n, l = a * n^(-alpha), an accuracy
    A = exp(-l) rises by dA / d ln n = alpha * A * (-ln A): nothing where A is 0 or 1, most
    at A = 1/e. A is estimated by the mean of exp(-scale * loss); alpha is taken as equal.
    """

    def __init__(self, cells: int, arm: FrontierArm) -> None:
        """Start with nothing observed."""
        super().__init__(cells, arm)
        self._scale = arm.scale

    def _value(self, observation: Observation) -> float:
        return math.exp(-self._scale * observation.loss)

    def _need(self, segment: int) -> Weights:
        signal = self.signal()
        slope = -signal * np.log(np.maximum(signal, np.finfo(np.float64).tiny))
        largest = slope.max()
        return slope / largest if largest > 0 else np.ones_like(slope)


class Mastery(_Measured):
    """Trains most where the fewest responses are exactly right already."""

    def _value(self, observation: Observation) -> float:
        return float(observation.exact)

    def _need(self, segment: int) -> Weights:
        return 1 - self.signal()


class Planned(_Online):
    """Plans the rest of the run from time to time, by the learning curve of each cell.

    ``sizes`` has the number of examples of each cell and ``tokens`` their mean supervised
    tokens, both (cells,). ``budgets`` has the supervised tokens that are left at the beginning
    of each segment. Points of a curve are means over ``WINDOW`` fresh examples.
    """

    WINDOW = 4

    def __init__(
        self, arm: PlannedArm, sizes: Weights, tokens: Weights, budgets: Sequence[float]
    ) -> None:
        """Start with nothing observed."""
        super().__init__(len(sizes), arm)
        self._scale = arm.scale
        self._sizes = sizes
        self._tokens = tokens
        self._budgets = budgets
        self._n = np.zeros(len(sizes))
        self._fresh: list[list[tuple[float, float]]] = [[] for _ in sizes]
        self._accuracy = np.full(len(sizes), np.nan)

    def observe(self, cell: int, observation: Observation) -> None:
        """Count an observation; its loss is a part of the curve if its example is fresh."""
        self._n[cell] += 1
        super().observe(cell, observation)

    def signal(self) -> Weights:
        """Return the accuracies by the curves when the weights were last asked for."""
        return self._accuracy

    def _add(self, cell: int, observation: Observation) -> None:
        self._fresh[cell].append((self._n[cell], observation.loss))

    def _need(self, segment: int) -> Weights:
        """Return the share of its examples that the plan gives a cell, relative to the largest."""
        curves = fit_curves([self._points(fresh) for fresh in self._fresh])
        self._accuracy = curves.accuracy(self._n, scale=self._scale)
        budget = self._budgets[segment]
        planned = spend(curves, self._n, self._tokens, budget, scale=self._scale)
        epochs = planned / self._sizes
        return epochs / epochs.max()

    def _points(self, fresh: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        whole = len(fresh) // self.WINDOW * self.WINDOW
        windows = np.array(fresh[:whole]).reshape(-1, self.WINDOW, 2)
        n = np.exp(np.log(windows[:, :, 0]).mean(axis=1))
        return list(zip(n.tolist(), windows[:, :, 1].mean(axis=1).tolist(), strict=True))


def rule_of(arm: OnlineGroup, cells: Cells, tokens: Sequence[int], train: Train) -> Rule:
    """Return the rule of an online arm; ``tokens`` are the supervised ones of each example.

    Raises ValueError for a cell with fewer examples than its warm-up needs.
    """
    n = len(cells.names)
    for (source, prompting), members in zip(cells.names, cells.members, strict=True):
        if len(members) < arm.warmup_examples:
            raise ValueError(
                f"warmup_examples: {arm.warmup_examples}: {source} with {prompting} has "
                f"{len(members)} examples: expected at least as many"
            )
    if isinstance(arm, PlannedArm):
        means = np.array(
            [sum(tokens[i] for i in members) / len(members) for members in cells.members]
        )
        sizes = np.array([float(len(members)) for members in cells.members])
        left = range(train.steps, 0, -arm.every)
        return Planned(arm, sizes, means, [steps * train.tokens_per_step for steps in left])
    if isinstance(arm, FrontierArm):
        return Frontier(n, arm)
    assert isinstance(arm, MasteryArm)
    return Mastery(n, arm)


class Trace:
    """Replays the weights that another run had, whatever this one observes.

    ``weights_by_segment`` has the shape (segments, cells).
    """

    def __init__(self, weights_by_segment: NDArray[np.float64]) -> None:
        """Store the weights."""
        self._weights = weights_by_segment

    def observe(self, cell: int, observation: Observation) -> None:
        """Ignore an observation."""

    def weights(self, segment: int) -> Weights:
        """Return the weights of a segment of the other run."""
        return self._weights[segment]

    def signal(self) -> Weights:
        """Return nan: the weights follow nothing."""
        return np.full(self._weights.shape[1], np.nan)


def permuted(trace: NDArray[np.float64], *, seed: int) -> NDArray[np.float64]:
    """Give each cell the weights that another one had, the same one throughout.

    The permutation is drawn among those that leave no cell its own weights. Raises ValueError
    for fewer than two cells.
    """
    cells = np.arange(trace.shape[1])
    if len(cells) < 2:
        raise ValueError(f"trace: {len(cells)} cells: expected at least 2 to permute")
    rng = np.random.default_rng(seed)
    order = cells
    while (order == cells).any():  # about one permutation in e leaves none in its place
        order = rng.permutation(cells)
    return trace[:, order]


def averaged(trace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each cell the mean of its weights throughout, relative to each segment's mean."""
    shares = trace / trace.mean(axis=1, keepdims=True)
    return np.broadcast_to(shares.mean(axis=0), trace.shape)
