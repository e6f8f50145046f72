"""How systems answer, original beside tuned: length, steps, and fixed questions in full.

``stages.lib.analysis.steps`` says what has steps and what states an answer. Programs are asked for
neither, so of PoT answers there are lengths and verdicts alone. Frames have one row per
benchmark, system, prompting and problem.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.analysis import intervals
from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.steps import style
from stages.lib.core.schema import EvalRecord, Generation, Problem

SHOWN = 8
MEASURES = ("tokens", "steps", "stated")

FACTS = ["benchmark", "source", "template", "problem_id", "question", "answer", "system"]
FACTS += ["prompting", "status", "extracted", "tokens", "finish_reason", "text", "steps"]
FACTS += ["stated", "correct"]
STYLES = ["benchmark", "system", "prompting", "n", "tokens", "tokens_low", "tokens_high"]
STYLES += ["median_tokens"]
STYLES += [
    f"{name}{end}" for name in ("steps", "stated", "accuracy") for end in ("", "_low", "_high")
]
DIFFERENCES = ["benchmark", "first", "second", "prompting", "measure", "n"]
DIFFERENCES += ["difference", "low", "high"]
ANSWERS = ["benchmark", "source", "problem_id", "question", "answer", "system"]
ANSWERS += ["status", "extracted", "tokens", "finish_reason", "text"]


def style_frame(
    answers: Iterable[tuple[str, Generation]],
    graded: Sequence[EvalRecord],
    problems: Mapping[str, Sequence[Problem]],
    systems: Sequence[str],
) -> pd.DataFrame:
    """Return a row per answer of the systems: what it is measured by, and its text.

    ``answers`` are (system, generation) pairs, and ``graded`` has their verdicts, in order.
    """
    by_id = {one.id: one for members in problems.values() for one in members}
    rows = [
        _row(by_id[row.problem_id], row, verdict)
        for (system, row), verdict in zip(answers, graded, strict=True)
        if system in systems
    ]
    return pd.DataFrame(rows, columns=pd.Index(FACTS))


def _row(problem: Problem, row: Generation, verdict: EvalRecord) -> tuple[Any, ...]:
    styled = style(row.text, problem.question) if row.prompting == "cot" else (None, None)
    return (
        verdict.benchmark,
        problem.source,
        problem.template,
        problem.id,
        problem.question,
        problem.answer,
        verdict.system,
        row.prompting,
        verdict.status,
        verdict.extracted,
        row.n_tokens,
        row.finish_reason,
        row.text,
        *styled,
        verdict.status == "correct",
    )


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: draws, their level, and the generator."""

    draws: int
    level: float
    rng: np.random.Generator


def tables(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], how: Bootstrap
) -> dict[str, pd.DataFrame]:
    """Return the tables of ``reports/tables/`` by name; without answers they have no rows."""
    columns = {"styles": STYLES, "style_differences": DIFFERENCES, "side_by_side": ANSWERS}
    if frame.empty:
        return {name: pd.DataFrame(columns=pd.Index(of)) for name, of in columns.items()}
    return {
        "styles": style_table(frame, how),
        "style_differences": difference_table(frame, pairs, how),
        "side_by_side": fixed_answers(frame),
    }


def style_table(frame: pd.DataFrame, how: Bootstrap) -> pd.DataFrame:
    """Return length, shares with steps and with a stated answer, and accuracy, by system.

    Lengths are tokens; the interval of their mean is bootstrapped as differences are, those
    of shares are Wilson's.
    """
    rows = []
    for keys, group in groups(frame, ["benchmark", "system", "prompting"]):
        tokens = group["tokens"].to_numpy()
        low, high = _mean_interval(tokens, group, how)
        row: dict[str, Any] = dict(zip(("benchmark", "system", "prompting"), keys, strict=True))
        row |= {"n": len(group), "tokens": _rounded(tokens.mean())}
        row |= {"tokens_low": low, "tokens_high": high, "median_tokens": float(np.median(tokens))}
        for name, column in (("steps", "steps"), ("stated", "stated"), ("accuracy", "correct")):
            row |= _share(name, group[column], how.level)
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(STYLES))


def difference_table(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], how: Bootstrap
) -> pd.DataFrame:
    """Return the paired differences of each pair of systems, in tokens and in shares.

    Templates are drawn as clusters inside their source, or problems where a source has
    no more than one template.
    """
    rows = []
    for (benchmark, prompting), group in groups(frame, ["benchmark", "prompting"]):
        of = {name: part.set_index("problem_id") for (name,), part in groups(group, ["system"])}
        for first, second in pairs:
            ours, theirs = of[first], of[second].loc[of[first].index]
            for measure in MEASURES if prompting == "cot" else MEASURES[:1]:
                change = ours[measure].astype(int) - theirs[measure].astype(int)
                if measure == "tokens":
                    low, high = _mean_interval(change.to_numpy(), ours, how)
                else:
                    low, high = _share_interval(ours, theirs, measure, how)
                of_pair = (benchmark, first, second, prompting, measure, len(ours))
                rows.append((*of_pair, _rounded(change.mean()), low, high))
    return pd.DataFrame(rows, columns=pd.Index(DIFFERENCES))


def fixed_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what every system answered to the same few problems, with CoT, in full.

    Of each source it is the problem with the first id; benchmarks take turns until there
    are ``SHOWN``, so that every run of the same benchmarks shows the same ones.
    """
    reasoned = frame.loc[frame["prompting"] == "cot"]
    firsts = reasoned.drop_duplicates("problem_id").sort_values("problem_id")
    firsts = firsts.drop_duplicates(["benchmark", "source"])
    turns = firsts.assign(
        turn=firsts.groupby("benchmark").cumcount(),
        place=firsts["benchmark"].map(list(frame["benchmark"].unique()).index),
    ).sort_values(["turn", "place"])
    order = {name: place for place, name in enumerate(turns["problem_id"].head(SHOWN))}
    shown = reasoned.loc[reasoned["problem_id"].isin(order)]
    shown = shown.assign(order=shown["problem_id"].map(order))
    return shown.sort_values("order", kind="stable")[ANSWERS].reset_index(drop=True)


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _share(name: str, values: pd.Series, level: float) -> dict[str, Any]:
    names = (name, f"{name}_low", f"{name}_high")
    if values.hasnans:
        return dict.fromkeys(names)
    right = int(values.astype(bool).sum())
    low, high = intervals.wilson_interval(right, len(values), level=level)
    found = (right / len(values), low, high)
    return dict(zip(names, map(_rounded, found), strict=True))


def _mean_interval(
    values: np.ndarray, of: pd.DataFrame, how: Bootstrap
) -> tuple[float | None, float | None]:
    if len(of) < 2:
        return None, None
    clusters, strata = _design(of)
    low, high = intervals.mean_interval(
        values, clusters, strata=strata, draws=how.draws, level=how.level, rng=how.rng
    )
    # Where nearly all are at the token limit, there is no spread to measure with.
    return (_rounded(low), _rounded(high)) if isfinite(high) else (None, None)


def _share_interval(
    ours: pd.DataFrame, theirs: pd.DataFrame, measure: str, how: Bootstrap
) -> tuple[float, float]:
    first, second = (of[measure].to_numpy(dtype=int) for of in (ours, theirs))
    clusters, strata = _design(ours)
    if clusters is None:
        # Shares near 0 and 1 are the rule here, and leave little to resample.
        low, high = intervals.sparse_interval(first, second, level=how.level)
    else:
        low, high = intervals.paired_interval(
            first,
            second,
            clusters,
            strata=strata,
            draws=how.draws,
            level=how.level,
            rng=how.rng,
        )
    return _rounded(low), _rounded(high)


def _design(rows: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the cluster and the stratum of each problem, for ``stages.lib.analysis.intervals``.

    A source with one unit shows no spread; then all sources are one stratum.
    """
    ids = rows.reset_index()["problem_id"].to_numpy()
    source, template = rows["source"], rows["template"]
    several = template.groupby(source).transform("nunique").to_numpy() > 1
    units = pd.Series(np.where(several, template.to_numpy(), ids))
    spread = units.groupby(source.to_numpy()).nunique()
    strata = source.to_numpy() if (spread.to_numpy() > 1).all() else None
    return (None if units.is_unique else units.to_numpy()), strata
