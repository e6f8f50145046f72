"""Response style before and after tuning: length, steps, and fixed problems in full.

``stages.lib.analysis.steps`` defines steps and stated answers. Programs are expected to have
neither, so for PoT answers there are lengths and grades alone. Frames have one row per
benchmark, system, prompting and problem.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from stages.lib.analysis import intervals
from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.comparisons import paired_frames
from stages.lib.analysis.intervals import Bootstrap
from stages.lib.analysis.steps import measure_style
from stages.lib.core.schema import EvalRecord, Generation, Problem

N_FIXED_PROBLEMS = 8
MEASURES = ("tokens", "steps", "stated")

STYLE_COLUMNS = [
    *("benchmark", "system", "prompting", "n", "clusters", "strata"),
    *("tokens", "tokens_low", "tokens_high", "median_tokens"),
    *(f"{name}{end}" for name in ("steps", "stated", "accuracy") for end in ("", "_low", "_high")),
]
DIFFERENCE_COLUMNS = [
    *("benchmark", "first", "second", "prompting", "measure", "n", "clusters", "strata"),
    *("difference", "low", "high"),
]
ANSWER_COLUMNS = [
    *("benchmark", "source", "problem_id", "question", "answer", "system"),
    *("status", "extracted", "tokens", "finish_reason", "text"),
]
MEASURED_COLUMNS = ["template", "prompting", "steps", "stated", "correct"]


def style_frame(
    graded: Iterable[tuple[Generation, EvalRecord]], problems: Mapping[str, Sequence[Problem]]
) -> pd.DataFrame:
    """Return a row per answer with its text and the measurements of the text.

    ``graded`` are answers with their records; ``problems`` are by benchmark.
    """
    by_id = {problem.id: problem for members in problems.values() for problem in members}
    rows = [_row(by_id[answer.problem_id], answer, record) for answer, record in graded]
    return pd.DataFrame(rows, columns=pd.Index([*ANSWER_COLUMNS, *MEASURED_COLUMNS]))


def _row(problem: Problem, answer: Generation, record: EvalRecord) -> dict[str, Any]:
    steps, stated = None, None
    if answer.prompting == "cot":
        steps, stated = measure_style(answer.text, problem.question)
    return {
        "benchmark": record.benchmark,
        "source": problem.source,
        "template": problem.template,
        "problem_id": problem.id,
        "question": problem.question,
        "answer": problem.answer,
        "system": record.system,
        "prompting": answer.prompting,
        "status": record.status,
        "extracted": record.extracted,
        "tokens": answer.n_tokens,
        "finish_reason": answer.finish_reason,
        "text": answer.text,
        "steps": steps,
        "stated": stated,
        "correct": record.status == "correct",
    }


def style_tables(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], bootstrap: Bootstrap
) -> dict[str, pd.DataFrame]:
    """Return the tables of ``reports/tables/`` by name; without answers they have no rows."""
    return {
        "styles": style_table(frame, bootstrap),
        "style_differences": style_difference_table(frame, pairs, bootstrap),
        "side_by_side": fixed_answers(frame),
    }


def style_table(frame: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return length, shares with steps and with a stated answer, and accuracy, by system.

    Lengths are in tokens; the interval of their mean is bootstrapped as that of differences,
    those of shares are Wilson's.
    """
    rows = []
    for keys, group in groups(frame, ["benchmark", "system", "prompting"]):
        tokens = group["tokens"].to_numpy()
        low, high = _mean_interval(tokens, group, bootstrap)
        row: dict[str, Any] = dict(zip(("benchmark", "system", "prompting"), keys, strict=True))
        row |= {
            "n": len(group),
            **dict(zip(("clusters", "strata"), _design_names(group), strict=True)),
            "tokens": _rounded(tokens.mean()),
            "tokens_low": low,
            "tokens_high": high,
            "median_tokens": float(np.median(tokens)),
        }
        for name, column in (("steps", "steps"), ("stated", "stated"), ("accuracy", "correct")):
            row |= _share(name, group[column], bootstrap["level"])
        rows.append(row)
    return pd.DataFrame(rows, columns=pd.Index(STYLE_COLUMNS))


def style_difference_table(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Return the paired differences of each pair of systems, in tokens and in shares.

    Templates are drawn as clusters inside their source, or problems where a source has
    no more than one template. The columns ``clusters`` and ``strata`` name what is drawn together
    and what is fixed.
    """
    rows = []
    for (benchmark, prompting), group in groups(frame, ["benchmark", "prompting"]):
        for first, second in pairs:
            x, y = paired_frames(group, first, second)
            for measure in MEASURES if prompting == "cot" else MEASURES[:1]:
                difference = x[measure].astype(int) - y[measure].astype(int)
                if measure == "tokens":
                    low, high = _mean_interval(difference.to_numpy(), x, bootstrap)
                else:
                    low, high = _share_interval(x, y, measure, bootstrap)
                keys = (benchmark, first, second, prompting, measure, len(x), *_design_names(x))
                rows.append((*keys, _rounded(difference.mean()), low, high))
    return pd.DataFrame(rows, columns=pd.Index(DIFFERENCE_COLUMNS))


def fixed_answers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every system's CoT answers to the same few problems, in full.

    From each source comes the problem with the first id; benchmarks take turns until there
    are ``N_FIXED_PROBLEMS``, so that every run of the same benchmarks has the same ones.
    """
    cot = frame.loc[frame["prompting"] == "cot"]
    firsts = cot.drop_duplicates("problem_id").sort_values("problem_id")
    firsts = firsts.drop_duplicates(["benchmark", "source"])
    turns = firsts.assign(
        turn=firsts.groupby("benchmark").cumcount(),
        position=firsts["benchmark"].map(list(frame["benchmark"].unique()).index),
    ).sort_values(["turn", "position"])
    order = {name: index for index, name in enumerate(turns["problem_id"].head(N_FIXED_PROBLEMS))}
    answers = cot.loc[cot["problem_id"].isin(order)]
    answers = answers.assign(order=answers["problem_id"].map(order))
    return answers.sort_values("order", kind="stable")[ANSWER_COLUMNS].reset_index(drop=True)


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _share(name: str, values: pd.Series, level: float) -> dict[str, Any]:
    names = (name, f"{name}_low", f"{name}_high")
    if values.hasnans:
        return dict.fromkeys(names)
    n_true = int(values.astype(bool).sum())
    interval = intervals.wilson_interval(n_true, len(values), level=level)
    return dict(zip(names, map(_rounded, (n_true / len(values), *interval)), strict=True))


def _mean_interval(
    values: np.ndarray, rows: pd.DataFrame, bootstrap: Bootstrap
) -> tuple[float | None, float | None]:
    if len(rows) < 2:
        return None, None
    clusters, strata = _design(rows)
    low, high = intervals.mean_interval(values, clusters, strata=strata, **bootstrap)
    # Where nearly all answers are at the token limit, most draws have no variance.
    return (_rounded(low), _rounded(high)) if isfinite(high) else (None, None)


def _share_interval(
    x: pd.DataFrame, y: pd.DataFrame, measure: str, bootstrap: Bootstrap
) -> tuple[float, float]:
    first, second = (rows[measure].to_numpy(dtype=int) for rows in (x, y))
    clusters, strata = _design(x)
    if clusters is None:
        # Shares near 0 and 1 are common here, and leave little to resample.
        low, high = intervals.sparse_interval(first, second, level=bootstrap["level"])
    else:
        low, high = intervals.paired_interval(first, second, clusters, strata=strata, **bootstrap)
    return _rounded(low), _rounded(high)


def _design(rows: pd.DataFrame) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the cluster and the stratum of each problem, for ``stages.lib.analysis.intervals``.

    One unit in a source has no variance; then all sources together are one stratum.
    """
    ids = rows.reset_index()["problem_id"].to_numpy()
    source, template = rows["source"], rows["template"]
    several_templates = template.groupby(source).transform("nunique").to_numpy() > 1
    units = pd.Series(np.where(several_templates, template.to_numpy(), ids))
    n_units = units.groupby(source.to_numpy()).nunique()
    strata = source.to_numpy() if (n_units.to_numpy() > 1).all() else None
    return (None if units.is_unique else units.to_numpy()), strata


def _design_names(rows: pd.DataFrame) -> tuple[str, str]:
    """Return what is drawn as a cluster, and inside what; "" for single problems and for all."""
    clusters, strata = _design(rows)
    return "" if clusters is None else "template", "" if strata is None else "source"
