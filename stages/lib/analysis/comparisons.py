"""Tables of paired comparisons: systems on the same problems, and several runs of both."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Unpack

import numpy as np
import pandas as pd

from stages.lib.analysis import paired, significance
from stages.lib.analysis.accuracy import groups
from stages.lib.analysis.answer_modes import single_modes_among
from stages.lib.analysis.intervals import Bootstrap
from stages.lib.analysis.seeds import compare_runs

Compare = Callable[[pd.DataFrame, Sequence[str], str], dict[str, Any]]
"""Returns the columns of one row, from a benchmark's rows, a pair and an answer mode."""


def comparison_table(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], **bootstrap: Unpack[Bootstrap]
) -> pd.DataFrame:
    """Return the paired difference of each pair of systems per benchmark and answer mode.

    ``frame`` is that of ``accuracy.answer_frame``. Problems are resampled inside their source, a
    fixed part of the design, which the column ``strata`` names. ``p_holm`` is corrected over all
    rows of one benchmark; ``p_sources``, uncorrected, comes from swapping the systems in whole
    sources, and is missing where there are too few sources ever to reach 1 - ``level``.
    ``discordant`` is the share of problems that exactly one of the two solves,
    ``equivalent_within`` the smallest margin within which two one-sided tests at 1 - ``level``
    find the two equivalent.
    """
    return _table(frame, pairs, partial(_comparison, bootstrap=bootstrap))


def sampled_comparison_table(
    frame: pd.DataFrame, pairs: Sequence[Sequence[str]], **bootstrap: Unpack[Bootstrap]
) -> pd.DataFrame:
    """Return the paired difference in avg@n of each pair, per benchmark and answer mode.

    ``frame`` is that of ``accuracy.answer_frame`` for sampled answers. The answers to a problem are
    drawn together, which ``clusters`` names, inside their source, which ``strata`` names unless one
    has a single problem. ``p`` comes from swapping the systems in whole problems; ``p_holm`` and
    ``equivalent_within`` are those of ``comparison_table``.
    """
    return _table(frame, pairs, partial(_sampled_comparison, bootstrap=bootstrap))


def run_table(
    frame: pd.DataFrame,
    pairs: Sequence[Sequence[str]],
    runs: Mapping[str, Sequence[str]],
    *,
    level: float,
) -> pd.DataFrame:
    """Return each pair's difference over several runs of both, per benchmark and answer mode.

    ``runs`` lists the systems that are runs of each name in ``pairs``. ``std`` is the standard
    deviation of the difference over runs, ``equivalent_within`` that of ``comparison_table``.
    ``p_holm`` is corrected over all rows of one benchmark.
    """
    return _table(frame, pairs, partial(_run_comparison, runs=runs, level=level))


def paired_frames(group: pd.DataFrame, first: str, second: str) -> tuple[Any, Any]:
    """Return the rows of two systems, indexed by ``problem_id``, in the same order."""
    first_rows = group[group["system"] == first].set_index("problem_id")
    second_rows = group[group["system"] == second].set_index("problem_id")
    return first_rows, second_rows.loc[first_rows.index]


def _table(frame: pd.DataFrame, pairs: Sequence[Sequence[str]], compare: Compare) -> pd.DataFrame:
    """Return a row per benchmark, pair and answer mode."""
    rows: list[dict[str, Any]] = []
    for (benchmark,), group in groups(frame, ["benchmark"]):
        # The comparisons on one benchmark are one family of tests.
        rows += _with_holm(
            [
                {"benchmark": benchmark, "first": pair[0], "second": pair[1]}
                | {"answer_mode": answer_mode, **compare(group, pair, answer_mode)}
                for pair in pairs
                for answer_mode in single_modes_among(frame.columns)
            ]
        )
    return pd.DataFrame(rows)


def _with_holm(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their p rounded, and a column ``p_holm`` corrected over all of them."""
    adjusted = significance.holm([row["p"] for row in rows])
    return [
        row | {"p": round(row["p"], 4), "p_holm": round(float(p), 4)}
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _comparison(
    group: pd.DataFrame, pair: Sequence[str], answer_mode: str, bootstrap: Bootstrap
) -> dict[str, Any]:
    first_rows, second_rows = paired_frames(group, *pair)
    x, y = first_rows[answer_mode].to_numpy(), second_rows[answer_mode].to_numpy()
    sources = first_rows["source"].to_numpy()
    result, margin = _compare(x, y, bootstrap, strata=sources)
    # The smallest p of the sign-flip test with G sources is 2^(1 - G).
    enough_sources = 2.0 ** (1 - len(set(sources))) <= 1 - bootstrap["level"]
    p_sources = round(significance.sign_flip_p(x, y, sources), 4) if enough_sources else None
    discordant = float(np.mean(x != y))
    return {
        "n": len(x),
        "strata": "source",
        **result.interval(),
        "p": result.p,
        "p_sources": p_sources,
        "discordant": round(discordant, 4),
        "equivalent_within": margin,
    }


def _sampled_comparison(
    group: pd.DataFrame, pair: Sequence[str], answer_mode: str, bootstrap: Bootstrap
) -> dict[str, Any]:
    first, second = (
        group.loc[group["system"] == name].set_index(["problem_id", "index"]).sort_index()
        for name in pair
    )
    if not first.index.equals(second.index):
        raise ValueError(f"sampled answers: {pair[0]}, {pair[1]}: expected the same problems")
    ids: Any = first.index.get_level_values("problem_id").to_numpy()
    sources = first["source"].to_numpy()
    by_source: Any = pd.Series(ids).groupby(sources).nunique()
    strata = sources if by_source.min() > 1 else None
    n = int(by_source.sum())
    x, y = (rows[answer_mode].to_numpy(dtype=int) for rows in (first, second))
    result, margin = _compare(x, y, bootstrap, clusters=ids, strata=strata)
    return {
        "n": n,
        "samples": len(ids) // n,
        "clusters": "problem",
        "strata": "" if strata is None else "source",
        **result.interval(),
        "p": result.p,
        "equivalent_within": margin,
    }


def _compare(
    x: Any, y: Any, bootstrap: Bootstrap, **design: Any
) -> tuple[paired.Comparison, float]:
    """Return a comparison, and the margin within which two one-sided tests find equivalence."""
    # The same draws for both intervals.
    narrower: Bootstrap = {**deepcopy(bootstrap), "level": 2 * bootstrap["level"] - 1}
    result = paired.compare(x, y, **design, **bootstrap)
    return result, round(paired.compare(x, y, **design, **narrower).margin(), 4)


def _run_comparison(
    group: pd.DataFrame,
    pair: Sequence[str],
    answer_mode: str,
    runs: Mapping[str, Sequence[str]],
    level: float,
) -> dict[str, Any]:
    solved = group.pivot(index="problem_id", columns="system", values=answer_mode)
    source_of: Any = group.drop_duplicates("problem_id").set_index("problem_id")["source"]
    # Both (runs, problems), the runs with the seeds in one order.
    x, y = (solved[list(runs[name])].to_numpy().T for name in pair)
    strata = source_of[solved.index].to_numpy()
    result = compare_runs(x, y, strata, level=level)
    narrow = compare_runs(x, y, strata, level=2 * level - 1)
    by_run = x.mean(axis=1) - y.mean(axis=1)
    return {
        "runs": len(x),
        "n": len(solved),
        "strata": "source",
        **result.interval(),
        "std": round(float(by_run.std(ddof=1)), 4),
        "equivalent_within": round(narrow.margin(), 4),
        "p": result.p,
    }
