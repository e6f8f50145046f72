"""Read the tables and logs that figures are drawn from."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from stages.lib.analysis.speeds import NO_KERNEL
from stages.lib.core.paths import (
    TABLES,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Problem, RowT
from stages.lib.core.tables import read_parquet

SHARES = ["system", "answer_mode", "n", "accuracy", "low", "high"]


def by_gptq(table: pd.DataFrame) -> list[list[str]]:
    """Return each original of the table of quantized models, and its first GPTQ at each width."""
    made = table.loc[table["method"] == "gptq"].drop_duplicates(["parent", "bits"])
    return [
        [str(parent), *rows.sort_values("bits", ascending=False)["model"]]
        for parent, rows in made.groupby("parent", sort=False)
    ]


def by_level(problems: Sequence[Problem]) -> list[str]:
    """Return the sources of problems by mean level; those without levels go last."""
    levels: defaultdict[str, list[float]] = defaultdict(list)
    for problem in problems:
        levels[problem.source].append(inf if problem.level is None else problem.level)
    return sorted(levels, key=lambda source: fmean(levels[source]))


def table_of(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of rows; pandas itself would copy every row with all it holds."""
    return pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns})


def accuracies(table: str, column: str, benchmark: str, answer_mode: str) -> pd.DataFrame:
    """Return the rows of a table of accuracies for one benchmark and decoding."""
    path = TABLES / f"{table}.csv"
    rows = read_table(path, ["benchmark", column, *SHARES])
    rows = rows.loc[(rows["benchmark"] == benchmark) & (rows["answer_mode"] == answer_mode)]
    if rows.empty:
        raise ValueError(
            f"{path}: no rows of benchmark {benchmark!r} with decoding {answer_mode!r}"
        )
    return rows


def logs(names: Sequence[str], measured: Sequence[str], column: str) -> pd.DataFrame:
    """Return what was measured by step of trained models; ``column`` holds their names.

    What was not measured in a step is missing there.
    """
    tables = []
    for name in names:
        folder = TRAINING_LOGS / name / "plots" / "metrics"
        of_each = [
            read_table(folder / f"{one}.tsv", ["step", one], separator="\t") for one in measured
        ]
        merged = reduce(lambda one, other: one.merge(other, on="step", how="outer"), of_each)
        tables.append(merged.assign(**{column: name}))
    return pd.concat(tables, ignore_index=True)


def read_rows(path: Path, row_type: type[RowT]) -> list[RowT]:
    """Read a Parquet table that has rows; errors name the file."""
    rows = read_parquet(path, row_type)
    if not rows:
        raise ValueError(f"{path}: no rows: expected at least one")
    return rows


def read_table(path: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """Read a table of text that has rows and the named columns; errors name the file."""
    try:
        table = pd.read_csv(path, sep=separator, na_values=[NO_KERNEL])
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path}: empty: expected a table") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r}: missing")
    if table.empty:
        raise ValueError(f"{path}: no rows: expected at least one")
    return table
