"""avg@n, pass@k and maj@k of sampled answers, with standard errors and intervals.

Frames are those of ``stages.lib.analysis.accuracy`` with a row per sample. The samples of a problem
are one cluster: an interval is about other problems, each sampled as often.
"""

from collections.abc import Iterator
from math import inf, sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.answer_modes import single_modes_among
from stages.lib.analysis.intervals import check_open_unit
from stages.lib.analysis.paired import MIN_DISCORDANT
from stages.lib.grading.pass_at_k import maj_at_k, pass_at_k

COLUMNS = (
    *("benchmark", "system", "answer_mode", "measure", "k", "n", "samples", "clusters"),
    *("value", "standard_error", "same_problems_error", "low", "high"),
)


def sampled_table(frame: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Return the measures of each benchmark, system and answer mode, a row each.

    ``measure`` is ``avg`` (the mean accuracy of a sample, avg@n), ``pass`` or ``maj``, and ``k``
    its number of samples: all, and for the last two the powers of two below. ``n`` counts problems,
    ``samples`` the samples of each. ``standard_error`` is over problems and samples;
    ``same_problems_error`` of avg@n over other samples to the same problems. Raises ValueError for
    systems without all samples.
    """
    rows = []
    for (benchmark, system), group in groups(frame, ["benchmark", "system"]):
        for answer_mode in single_modes_among(frame.columns):
            correct = _by_problem(group, answer_mode).astype(bool)
            votes = _by_problem(group, f"{answer_mode}_vote")
            problems, samples = correct.shape
            key = (benchmark, system, answer_mode)
            for measure, k, values in _measures(correct, votes):
                same = _same_problems_error(correct) if measure == "avg" else None
                ends = effective_interval(values, samples, level=level)
                numbers = map(_rounded, (values.mean(), _standard_error(values), same, *ends))
                rows.append((*key, measure, k, problems, samples, "problem", *numbers))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def effective_interval(
    values: NDArray[np.float64], samples: int, *, level: float
) -> tuple[float, float]:
    """Return Wilson's interval of the mean of ``values`` (n,) in 0..1, a value for each problem.

    Its number of answers is the effective one, m (1 - m) / e^2 of a mean m with the standard error
    e: so many independent answers have this error (Franco, Little, Louis and Slud 2019,
    "Comparative study of confidence intervals for proportions in complex sample surveys"). It is
    at least n and at most n times ``samples``. It is n if fewer than ``MIN_DISCORDANT`` problems
    are above 0, or below 1: the error of so few cannot be estimated.
    """
    check_open_unit("level", level)
    n, mean, error = len(values), float(values.mean()), _standard_error(values)
    if min(np.count_nonzero(values > 0), np.count_nonzero(values < 1)) >= MIN_DISCORDANT:
        n = min(max(mean * (1 - mean) / error**2 if error else inf, n), n * samples)
    # statsmodels takes a number of answers that is not whole; scipy does not.
    ends: Any = proportion_confint(mean * n, n, alpha=1 - level, method="wilson")
    return float(ends[0]), float(ends[1])


def _measures(
    correct: NDArray[np.bool_], votes: NDArray[np.object_]
) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """Yield each measure with its k and its value for each problem.

    ``correct`` and ``votes`` are (problems, samples).
    """
    problems, samples = correct.shape
    yield "avg", samples, correct.mean(axis=1)
    ks = [*(2**power for power in range(1, samples.bit_length()) if 2**power < samples), samples]
    counts = correct.sum(axis=1).tolist()
    for k in ks:
        yield "pass", k, pass_at_k(counts, [samples] * problems, k=k)
    for k in ks:
        # A sum of many shares may be 1 + 1e-16.
        yield "maj", k, maj_at_k(votes.tolist(), correct.tolist(), k=k).round(12)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(float(number), 4)


def _by_problem(group: pd.DataFrame, column: str) -> NDArray[np.object_]:
    """Return a column as (problems, samples)."""
    table = group.pivot(index="problem_id", columns="index", values=column)
    if table.isna().any(axis=None):
        raise ValueError("sampled answers: expected as many to every problem")
    return table.to_numpy()


def _standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of a mean over problems; 0 for a single one."""
    return float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else 0.0


def _same_problems_error(correct: NDArray[np.bool_]) -> float:
    """Return the standard error of avg@n if only the samples were drawn again."""
    return sqrt(float(correct.var(axis=1, ddof=1).mean()) / correct.size)
