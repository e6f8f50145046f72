"""How answers were read, and whether another grader agrees: checks of the grader itself."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.intervals import wilson_interval
from stages.lib.analysis.tables import select_columns
from stages.lib.core.schema import EvalRecord

COLUMNS = ("benchmark", "system", "prompting", "status", "stated", "option_source")


def extraction_table(records: Sequence[EvalRecord], *, level: float) -> pd.DataFrame:
    """Return the accuracy of chain-of-thought answers by strict and by flexible extraction.

    ``strict`` counts only answers that the text states, as by "The answer is"; ``flexible``,
    which all other tables have, takes the last number or formula of the others, and the option
    of a follow-up question. ``n_stated`` counts the answers that are stated.
    """
    frame = select_columns(records, COLUMNS)
    rows = []
    for (benchmark, system), group in groups(frame.loc[frame["prompting"] == "cot"], COLUMNS[:2]):
        correct = group["status"] == "correct"
        stated = group["stated"] & (group["option_source"] == "")
        row = {"benchmark": benchmark, "system": system, "n": len(group), "n_stated": stated.sum()}
        for name, solved in (("strict", correct & stated), ("flexible", correct)):
            low, high = wilson_interval(int(solved.sum()), len(group), level=level)
            row[name] = round(float(solved.mean()), 4)
            row |= {f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
        rows.append(row)
    return pd.DataFrame(rows)


def agreement_table(verdicts: Iterable[dict[str, Any]], *, level: float) -> pd.DataFrame:
    """Return how often two graders agree, by benchmark and system, with Wilson's interval.

    A verdict has ``benchmark``, ``system``, and whether the answer is ``correct`` for us and for
    the ``other`` grader, None where that one failed. Where it failed, the two do not count as
    agreeing.
    """
    rows = []
    for (benchmark, system), group in groups(pd.DataFrame(verdicts), ["benchmark", "system"]):
        ours, other = group["correct"].astype(bool), group["other"]
        right, wrong = other.eq(True), other.eq(False)
        agree = int((ours == other).sum())
        low, high = wilson_interval(agree, len(group), level=level)
        rows.append(
            {
                "benchmark": benchmark,
                "system": system,
                "n": len(group),
                "agree": round(agree / len(group), 4),
                "agree_low": round(low, 4),
                "agree_high": round(high, 4),
                "accuracy": round(float(ours.mean()), 4),
                "other_accuracy": round(float(right.mean()), 4),
                "only_ours": int((ours & wrong).sum()),
                "only_other": int((~ours & right).sum()),
                "other_failed": int(other.isna().sum()),
            }
        )
    return pd.DataFrame(rows)
