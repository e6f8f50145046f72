"""Accuracy tables from graded answers.

Frames have one row per (benchmark, system, problem), or per sample: the status of the CoT and of
the PoT answer, and the problem's ``source``, ``topic`` and ``level``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from stages.lib.analysis import intervals
from stages.lib.analysis.answer_modes import modes_among
from stages.lib.analysis.tables import select_columns
from stages.lib.core.schema import PROMPTINGS, STATUSES, EvalRecord, Problem
from stages.lib.grading.grader import FAILED
from stages.lib.grading.pass_at_k import vote_of

COLUMNS = ("benchmark", "system", "problem_id", "index", "prompting", "status")
PIVOTED = ("status", "unanswered", "vote")


def answer_frame(
    records: Sequence[EvalRecord], problems: Mapping[str, Sequence[Problem]]
) -> pd.DataFrame:
    """Return a row per benchmark, system, problem and index, with a column per answer mode.

    Answer-mode columns are boolean: was the problem solved? There are ``cot`` and ``pot`` for
    the promptings of the answers, and the others if these are both. ``fallback`` (PoT‖CoT) is
    the program's answer, or the CoT answer where the program gave none; the first option,
    taken by default, is not an answer of the program. ``both`` and ``either`` need no choice
    between the two answers. ``cot_status`` and ``pot_status`` keep the statuses, ``cot_vote``,
    ``pot_vote`` and ``fallback_vote`` the answers as they vote.
    Raises ValueError for a system that lacks an answer which others have.
    """
    rows = select_columns(records, COLUMNS).assign(
        unanswered=[row.status in FAILED or row.option_source == "first_option" for row in records],
        vote=[vote_of(row.matched_option or row.extracted, row.status) for row in records],
    )
    keys = ["benchmark", "system", "problem_id", "index"]
    by_prompting = rows.pivot(index=keys, columns="prompting", values=list(PIVOTED))
    status, unanswered, votes = (cast(Any, by_prompting[name]) for name in PIVOTED)
    if by_prompting.isna().any(axis=None):
        raise ValueError(
            f"answers: expected one of every system to every problem with each of "
            f"{', '.join(status.columns)}"
        )
    columns: dict[str, Any] = {}
    for prompting in status.columns:
        columns[f"{prompting}_status"] = status[prompting]
        columns[f"{prompting}_vote"] = votes[prompting]
        columns[prompting] = status[prompting] == "correct"
    if set(PROMPTINGS) <= set(columns):
        cot, pot = columns["cot"], columns["pot"]
        answered = ~unanswered["pot"].astype(bool)
        columns |= {
            "fallback": pot.where(answered, cot),
            "fallback_vote": votes["pot"].where(answered, votes["cot"]),
            "both": cot & pot,
            "either": cot | pot,
        }
    frame = pd.DataFrame(columns).reset_index()
    # A merge, as the pivot has sorted the rows.
    metadata = pd.DataFrame(
        [
            (benchmark, problem.id, problem.source, problem.topic, problem.level)
            for benchmark, members in problems.items()
            for problem in members
        ],
        columns=pd.Index(["benchmark", "problem_id", "source", "topic", "level"]),
    )
    return frame.merge(metadata, on=["benchmark", "problem_id"], how="left", validate="m:1")


def accuracy_table(frame: pd.DataFrame, by: Sequence[str], *, level: float) -> pd.DataFrame:
    """Return accuracy, its standard error and its Wilson interval per group and answer mode.

    Groups are the combinations of the columns ``by``, answer modes those of ``frame``; shares
    are between 0 and 1. A group of one problem has no standard error.
    """
    rows = []
    for values, group in groups(frame, by):
        for answer_mode in modes_among(frame.columns):
            correct = group[answer_mode].to_numpy()
            low, high = intervals.wilson_interval(int(correct.sum()), len(correct), level=level)
            error = round(intervals.standard_error(correct), 4) if len(correct) > 1 else None
            rows.append(
                dict(zip(by, values, strict=True))
                | {
                    "answer_mode": answer_mode,
                    "n": len(correct),
                    "accuracy": round(float(correct.mean()), 4),
                    "standard_error": error,
                    "low": round(low, 4),
                    "high": round(high, 4),
                }
            )
    return pd.DataFrame(rows)


def status_table(records: Sequence[EvalRecord]) -> pd.DataFrame:
    """Return how many answers of each benchmark, system and prompting have each status.

    Beside the statuses, ``cut`` counts the answers that ended at the token limit; ``follow_up``
    and ``first_option`` count the answers that named none of the options, by what was graded
    instead.
    """
    rows = select_columns(records, COLUMNS).assign(
        cut=[record.finish_reason == "length" for record in records],
        follow_up=[record.option_source == "follow_up" for record in records],
        first_option=[record.option_source == "first_option" for record in records],
    )
    grouped = rows.groupby(["benchmark", "system", "prompting"], sort=False)
    counted = cast(pd.DataFrame, grouped["status"].value_counts().unstack(fill_value=0))
    counts = counted.reindex(columns=list(STATUSES), fill_value=0)
    extra = cast(pd.DataFrame, grouped[["cut", "follow_up", "first_option"]].sum())
    return counts.join(extra).reset_index()


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each combination of values of the columns ``by`` with its rows, in order."""
    yield from cast(Any, frame.groupby(list(by), sort=False, dropna=True))
