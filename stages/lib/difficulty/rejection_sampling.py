"""Difficulty-aware rejection tuning: training on the base model's own correct samples.

After DART-Math (Tong et al. 2024, arXiv:2407.13690, section 3; README of hkust-nlp/dart-math).
DART-Math samples every problem until it has k_u correct responses (Uniform), or a number
proportional to its difficulty, the fail rate (Prop2Diff): k_p for the hardest problem, at
least one for an easy one. A problem that reaches a limit of trials falls short. Here the
trials are the samples of ``sample``. The paper does not state, and we chose: numbers are
rounded up, and equal texts count once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from stages.lib.core.schema import Difficulty, Generation, Prompting, SampleGrade
from stages.lib.params.strategies import DartArm


def samples_per_problem(arm: DartArm, difficulties: Sequence[Difficulty]) -> NDArray[np.int64]:
    """Return how many samples to train on per problem, (n,), all promptings together.

    With k = ``per_problem``: k each (``dart_uniform``), or max(1, ceil(k f / f_max))
    with f the fail rate (``dart_prop2diff``).
    """
    if arm.strategy == "dart_uniform":
        return np.full(len(difficulties), arm.per_problem)
    # Exact fractions: rounding up a float could add a sample.
    fail_rates = [Fraction(row.n - row.n_correct, row.n) for row in difficulties]
    hardest = max(fail_rates) or Fraction(1)
    return np.array([max(1, ceil(arm.per_problem * rate / hardest)) for rate in fail_rates])


def correct_samples(
    samples: Sequence[Generation], grades: Sequence[SampleGrade], promptings: Sequence[Prompting]
) -> list[Generation]:
    """Return the correct samples of ``promptings``, each distinct text of a problem once.

    Texts are stripped; they count separately for each prompting. A truncated sample is left
    out even if it is correct, because it would teach the model to stop there. Samples are in
    the order of their indices and, at one index, of ``promptings``: the first samples of a
    problem are a mixture of all promptings.
    """
    statuses = {(row.problem_id, row.prompting, row.index): row.status for row in grades}
    correct: dict[tuple[str, Prompting, str], Generation] = {}
    for row in sorted(
        (row for row in samples if row.prompting in promptings),
        key=lambda row: (row.index, promptings.index(row.prompting)),
    ):
        status = statuses[row.problem_id, row.prompting, row.index]
        if status == "correct" and row.finish_reason == "stop":
            text = row.text.strip()
            correct.setdefault((row.problem_id, row.prompting, text), replace(row, text=text))
    return list(correct.values())


def take_first(samples: Sequence[Generation], n_samples: Mapping[str, int]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the first ``n_samples[problem_id]`` samples of each problem."""
    seen: Counter[str] = Counter()
    mask = []
    for row in samples:
        mask.append(seen[row.problem_id] < n_samples[row.problem_id])
        seen[row.problem_id] += 1
    return np.array(mask, dtype=bool)
