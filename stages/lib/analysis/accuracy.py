"""From graded answers to the tables of the paper: accuracies and paired comparisons.

Frames have one row per (benchmark, system, problem): the status of its CoT and of its
PoT answer, and the problem's ``source``, ``topic`` and ``level``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from stages.lib.analysis import intervals, paired, significance
from stages.lib.analysis.seeds import compare_runs
from stages.lib.core.schema import STATUSES, EvalRecord, Problem
from stages.lib.grading.grader import FAILED

ANSWER_MODES = ("cot", "pot", "fallback", "both", "either")
COMPARED = ("cot", "pot", "fallback")
ASIDES = ("cut", "asked", "default")


def answer_frame(graded: Sequence[EvalRecord], problems: dict[str, list[Problem]]) -> pd.DataFrame:
    """Return a row per benchmark, system and problem, with a column per decoding.

    Decoding columns are boolean: was the problem solved? ``fallback`` (PoT‖CoT) is the
    program's answer, and the reasoning's where the program gave none, an option by
    default being none; ``both`` and
    ``either`` need no choice. ``cot_status`` and ``pot_status`` keep the verdicts.
    Raises ValueError for a system that lacks an answer.
    """
    rows = _columns(graded).assign(none=[_gave_none(row) for row in graded])
    keys = ["benchmark", "system", "problem_id"]
    by_prompting = rows.pivot(index=keys, columns="prompting", values=["status", "none"])
    status, none = by_prompting["status"], by_prompting["none"]
    if by_prompting.isna().any(axis=None) or not {"cot", "pot"} <= set(status.columns):
        raise ValueError("answers: expected a CoT and a PoT answer to every problem")
    cot, pot = status["cot"] == "correct", status["pot"] == "correct"
    wide = pd.DataFrame(
        {
            "cot_status": status["cot"],
            "pot_status": status["pot"],
            "cot": cot,
            "pot": pot,
            "fallback": pot.where(~none["pot"].astype(bool), cot),
            "both": cot & pot,
            "either": cot | pot,
        }
    ).reset_index()
    facts = pd.DataFrame(
        [
            (benchmark, problem.id, problem.source, problem.topic, problem.level)
            for benchmark, members in problems.items()
            for problem in members
        ],
        columns=pd.Index(["benchmark", "problem_id", "source", "topic", "level"]),
    )
    return wide.merge(facts, on=["benchmark", "problem_id"], how="left", validate="m:1")


def accuracy_table(frame: pd.DataFrame, by: Sequence[str], *, level: float) -> pd.DataFrame:
    """Return accuracy with its standard error and Wilson interval per group and decoding.

    Groups are the combinations of the columns ``by``; shares are between 0 and 1. One
    problem alone has no standard error.
    """
    rows = []
    for values, group in groups(frame, by):
        for answer_mode in ANSWER_MODES:
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


def status_table(graded: Sequence[EvalRecord]) -> pd.DataFrame:
    """Return how many answers of each benchmark, system and prompting have each status.

    Beside the statuses, ``cut`` counts the answers that ended at the token limit, ``asked``
    and ``default`` those that were none of the options, by how they were settled.
    """
    rows = _columns(graded).assign(
        cut=[row.finish_reason == "length" for row in graded],
        asked=[row.option_source == "asked" for row in graded],
        default=[row.option_source == "default" for row in graded],
    )
    grouped = rows.groupby(["benchmark", "system", "prompting"], sort=False)
    counted = cast(pd.DataFrame, grouped["status"].value_counts().unstack(fill_value=0))
    counts = counted.reindex(columns=list(STATUSES), fill_value=0)
    return counts.join(cast(pd.DataFrame, grouped[list(ASIDES)].sum())).reset_index()


def comparison_table(
    frame: pd.DataFrame,
    pairs: Sequence[Sequence[str]],
    *,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the paired difference of each pair of systems per benchmark and decoding.

    Problems are resampled inside their source, a fixed part of the design. ``p_holm``
    is corrected over all rows of one benchmark; ``p_sources``, uncorrected, is that of
    swapping the systems in whole sources, none where these are too few ever to reach
    1 - ``level``; ``detectable`` is the smallest true difference that this many problems
    would show in 80% of repetitions.
    """
    tables: list[dict[str, Any]] = []
    for (benchmark,), group in groups(frame, ["benchmark"]):
        rows = [
            {"benchmark": benchmark}
            | _compared(group, first, second, answer_mode, draws, level, rng)
            for first, second in pairs
            for answer_mode in COMPARED
        ]
        adjusted = significance.holm([row["p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row["p_holm"] = round(float(p), 4)
            row["p"] = round(row["p"], 4)
        tables += rows
    return pd.DataFrame(tables)


def run_table(
    frame: pd.DataFrame,
    pairs: Sequence[Sequence[str]],
    runs: Mapping[str, Sequence[str]],
    *,
    level: float,
) -> pd.DataFrame:
    """Return the difference of each pair by several runs of both, per benchmark and decoding.

    ``spread`` is the standard deviation of the difference over runs. ``p_holm`` is
    corrected over all rows of one benchmark.
    """
    tables: list[dict[str, Any]] = []
    for (benchmark,), group in groups(frame, ["benchmark"]):
        rows = []
        for first, second in pairs:
            for answer_mode in COMPARED:
                wide = group.pivot(index="problem_id", columns="system", values=answer_mode)
                sources = group.drop_duplicates("problem_id").set_index("problem_id")["source"]
                ours, theirs = (wide[list(runs[one])].to_numpy().T for one in (first, second))
                found = compare_runs(ours, theirs, sources[wide.index].to_numpy(), level=level)
                by_run = ours.mean(axis=1) - theirs.mean(axis=1)
                rows.append(
                    {
                        "benchmark": benchmark,
                        "first": first,
                        "second": second,
                        "answer_mode": answer_mode,
                        "runs": len(ours),
                        "n": len(wide),
                        "difference": round(found.difference, 4),
                        "low": round(found.low, 4),
                        "high": round(found.high, 4),
                        "spread": round(float(by_run.std(ddof=1)), 4),
                        "p": found.p,
                    }
                )
        adjusted = significance.holm([row["p"] for row in rows])
        for row, p in zip(rows, adjusted, strict=True):
            row |= {"p": round(row["p"], 4), "p_holm": round(float(p), 4)}
        tables += rows
    return pd.DataFrame(tables)


def groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the values of the columns ``by`` and the rows that have them, in order."""
    yield from cast(Any, frame.groupby(list(by), sort=False, dropna=True))


def _gave_none(row: EvalRecord) -> bool:
    return row.status in FAILED or row.option_source == "default"


def _columns(graded: Sequence[EvalRecord]) -> pd.DataFrame:
    names = ("benchmark", "system", "problem_id", "prompting", "status")
    return pd.DataFrame({name: [getattr(row, name) for row in graded] for name in names})


def _compared(
    group: pd.DataFrame,
    first: str,
    second: str,
    answer_mode: str,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    ours = group[group["system"] == first].set_index("problem_id")
    theirs = group[group["system"] == second].set_index("problem_id").loc[ours.index]
    a, b = ours[answer_mode].to_numpy(), theirs[answer_mode].to_numpy()
    sources = ours["source"].to_numpy()
    found = paired.compare(a, b, strata=sources, draws=draws, level=level, rng=rng)
    tell = 2.0 ** (1 - len(set(sources))) <= 1 - level
    discordant = float(np.mean(a != b))
    detectable = significance.detectable_difference(
        len(a), discordant, power=significance.POWER, alpha=1 - level
    )
    return {
        "first": first,
        "second": second,
        "answer_mode": answer_mode,
        "n": len(a),
        "difference": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": found.p,
        "p_sources": round(significance.sign_flip_p(a, b, sources), 4) if tell else None,
        "discordant": round(discordant, 4),
        "detectable": round(detectable, 4) if detectable else None,
    }
