"""The analysis of a study: a pure function of its blocks' outcomes and its specification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.lib.analysis.paired import Comparison
from stages.lib.analysis.seeds import compare_runs, mean_of_runs
from stages.lib.params.data import LadderSource
from stages.lib.params.root import Params
from tools.study.blocks import Block, Outcomes
from tools.study.spec import STRATA, Stratum, Study

Verdict = Literal["met", "not met", "not tested", "inconclusive"]


@dataclass(frozen=True)
class Endpoint:
    """A registered comparison of two arms in a stratum: its interval has to lie above ``bound``."""

    name: str
    first: str
    second: str
    stratum: Stratum
    bound: float
    comparison: Comparison
    verdict: Verdict


@dataclass(frozen=True)
class ArmSummary:
    """The accuracy of an arm in a stratum: its mean with an interval, and that of each run."""

    system: str
    stratum: Stratum
    mean: float
    low: float
    high: float
    by_run: list[float]

    @property
    def run_sd(self) -> float | None:
        """The standard deviation over runs, or None of one run."""
        return float(np.std(self.by_run, ddof=1)) if len(self.by_run) > 1 else None


def planned_seeds(study: Study, blocks: Sequence[Block]) -> list[int]:
    """Return the seeds of all blocks, with the further ones if the look at the variance says so.

    ``blocks`` are in the order of the seeds. Before there are enough to look at, no further
    seeds are planned.
    """
    half_width = look_half_width(study, blocks)
    if half_width is None or half_width <= study.look.half_width:
        return study.seeds
    return study.seeds + study.look.seeds


def look_half_width(study: Study, blocks: Sequence[Block]) -> float | None:
    """Return half the width of the interval that the look at the variance looks at.

    None if the blocks that it needs are not there yet.
    """
    first = list(blocks[: study.look.blocks])
    if [block.seed for block in first] != study.seeds[: study.look.blocks]:
        return None
    comparison = compare(study, first, study.candidate, study.baseline, "hard")
    return (comparison.high - comparison.low) / 2


def endpoints(study: Study, blocks: Sequence[Block]) -> list[Endpoint]:
    """Test the registered endpoints, the last of them only if the others are met.

    Raises ValueError for fewer than three blocks, an easy cell that does not exist, and a
    system that was not evaluated.
    """
    planned: list[tuple[str, str, str, Stratum, float]] = [
        ("gain on hard cells", study.candidate, study.baseline, "hard", 0.0),
        ("no loss on easy cells", study.candidate, study.baseline, "easy", -study.margin),
        ("gain of the right cells", study.candidate, study.control, "hard", 0.0),
    ]
    results: list[Endpoint] = []
    for name, first, second, stratum, bound in planned:
        comparison = compare(study, blocks, first, second, stratum)
        verdict: Verdict = "met" if comparison.low > bound else "not met"
        if len(blocks) < study.least_blocks:
            verdict = "inconclusive"
        elif len(results) == 2 and any(result.verdict != "met" for result in results):
            verdict = "not tested"
        results.append(Endpoint(name, first, second, stratum, bound, comparison, verdict))
    return results


def summaries(study: Study, blocks: Sequence[Block]) -> list[ArmSummary]:
    """Return the accuracy of each arm in each stratum."""
    return [
        _summary(study, blocks, system, stratum, outcomes(study, blocks, system, stratum))
        for system in (study.baseline, study.candidate, study.control)
        for stratum in STRATA
    ]


def untrained_summaries(
    study: Study, blocks: Sequence[Block], untrained: Outcomes
) -> list[ArmSummary]:
    """Return the accuracy of systems that were not trained, each run once, in each stratum."""
    return [
        _summary(study, blocks, system, stratum, _digits([cells], cells_of(study, blocks, stratum)))
        for system, cells in untrained.items()
        for stratum in STRATA
    ]


def _summary(
    study: Study,
    blocks: Sequence[Block],
    system: str,
    stratum: Stratum,
    values: NDArray[np.float64],
) -> ArmSummary:
    """Return the accuracy over ``values``, of shape (runs, problems)."""
    cells = _cells(study, blocks, stratum)
    mean, low, high = mean_of_runs(values, cells, level=study.level)
    return ArmSummary(system, stratum, mean, low, high, values.mean(axis=1).tolist())


def design(study: Study, params: Params, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return the size of a study in numbers; ``params`` are those of its recipe."""
    kinds = len(params.prepare.rungs)
    ladder = [part for part in params.prepare.train if isinstance(part, LadderSource)]
    hard, easy = (cells_of(study, blocks, stratum) for stratum in STRATA)
    half_width = look_half_width(study, blocks)
    return {
        "commit": blocks[0].commit,
        "steps": params.train.steps,
        "tokens": params.train.steps * params.train.tokens_per_step,
        "kinds": kinds,
        "train_problems": sum(part.per_rung * kinds for part in ladder),
        "test_problems": len(blocks[0].outcomes[study.baseline][hard[0]]),
        "promptings": list(params.evaluate.prompting),
        "hard_cells": len(hard),
        "easy_cells": len(easy),
        "look": {
            "blocks": study.look.blocks,
            "half_width": None if half_width is None else round(half_width, 4),
            "limit": study.look.half_width,
        },
    }


def cell_accuracies(study: Study, blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return a row for each cell: its stratum, and the mean accuracy of each arm over the runs."""
    return [
        {"cell": cell, "stratum": stratum}
        | {
            system: round(
                float(_digits([run.outcomes[system] for run in blocks], [cell]).mean()), 4
            )
            for system in (study.baseline, study.candidate, study.control)
        }
        for stratum in STRATA
        for cell in cells_of(study, blocks, stratum)
    ]


def compute(study: Study, blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return a row for each arm: the median tokens and seconds of its trainings.

    Other work on the machine prolongs some runs, up to four times; it hardly moves the median.
    """
    columns = ("supervised_tokens", "processed_tokens", "seconds")
    return [
        {"system": system}
        | {
            name: round(float(np.median([block.reports[system][name] for block in blocks])), 1)
            for name in columns
        }
        for system in (study.baseline, study.candidate, study.control)
    ]


def outcomes(
    study: Study, blocks: Sequence[Block], system: str, stratum: Stratum
) -> NDArray[np.float64]:
    """Return the outcomes of a system in a stratum, of shape (blocks, problems)."""
    for block in blocks:
        if system not in block.outcomes:
            raise ValueError(f"block {block.seed}: {system!r}: expected it to be evaluated")
    runs = [block.outcomes[system] for block in blocks]
    return _digits(runs, cells_of(study, blocks, stratum))


def _digits(runs: Sequence[Mapping[str, str]], cells: Sequence[str]) -> NDArray[np.float64]:
    """Return the outcomes of runs in some cells, of shape (runs, problems)."""
    return np.array([[int(digit) for cell in cells for digit in run[cell]] for run in runs], float)


def cells_of(study: Study, blocks: Sequence[Block], stratum: Stratum) -> list[str]:
    """Return the names of a stratum's cells, sorted."""
    names = sorted(next(iter(blocks[0].outcomes.values())))
    unknown = sorted(set(study.easy) - set(names))
    if unknown:
        raise ValueError(f"easy: {unknown[0]!r}: expected one of {names}")
    return [name for name in names if (name in study.easy) == (stratum == "easy")]


def compare(
    study: Study, blocks: Sequence[Block], first: str, second: str, stratum: Stratum
) -> Comparison:
    """Compare two systems in a stratum, over runs and problems."""
    x, y = (outcomes(study, blocks, system, stratum) for system in (first, second))
    return compare_runs(x, y, _cells(study, blocks, stratum), level=study.level)


def _cells(study: Study, blocks: Sequence[Block], stratum: Stratum) -> list[str]:
    """Return the cell of each problem of a stratum, in the order of ``outcomes``."""
    any_system: dict[str, Any] = next(iter(blocks[0].outcomes.values()))
    return [name for name in cells_of(study, blocks, stratum) for _ in any_system[name]]
