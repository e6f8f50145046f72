"""Difficulty-aware rejection tuning: learning from the base model's own correct samples.

After DART-Math (Tong et al. 2024, arXiv:2407.13690, section 3; README of hkust-nlp/dart-math).
There, every problem is sampled until it has k_u correct responses (Uniform), or a number
proportional to its difficulty, the fail rate, of which the hardest problem has k_p
(Prop2Diff) and an easy one at least one; what reaches a limit of trials falls short. Here
the trials are those that ``sample`` made. Not stated there, and chosen here: numbers are
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
    """Return how many samples each problem is to be learned from, (n,), of all promptings.

    With k = ``per_problem``: k each (``dart_uniform``), or max(1, ceil(k f / f_max))
    with f the fail rate (``dart_prop2diff``).
    """
    if arm.strategy == "dart_uniform":
        return np.full(len(difficulties), arm.per_problem)
    fails = [Fraction(one.n - one.n_correct, one.n) for one in difficulties]
    hardest = max(fails) or Fraction(1)
    return np.array([max(1, ceil(arm.per_problem * fail / hardest)) for fail in fails])


def correct_samples(
    samples: Sequence[Generation],
    verdicts: Sequence[SampleGrade],
    promptings: Sequence[Prompting],
) -> list[Generation]:
    """Return the correct samples of some promptings, each text once for a problem and prompting.

    Texts are stripped. A sample that was cut off is left out, whatever it says: it would
    teach to stop there. The order is that of the samples' indices and, for one index,
    of ``promptings``, so that the first of a problem are of all promptings alike.
    """
    statuses = {(one.problem_id, one.prompting, one.index): one.status for one in verdicts}
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


def first_of_each(samples: Sequence[Generation], wanted: Mapping[str, int]) -> NDArray[np.bool_]:
    """Return which samples (n,) are taken: a problem's first, up to its number in ``wanted``."""
    seen: Counter[str] = Counter()
    taken = []
    for row in samples:
        taken.append(seen[row.problem_id] < wanted[row.problem_id])
        seen[row.problem_id] += 1
    return np.array(taken, dtype=bool)
