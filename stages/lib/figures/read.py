"""Read the tables and logs that figures are drawn from."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from math import inf
from pathlib import Path
from statistics import fmean

import pandas as pd

from stages.lib.analysis.tables import read_frame
from stages.lib.core.paths import TABLES, TRAINING_LOGS
from stages.lib.core.schema import Problem, RowT
from stages.lib.core.tables import read_parquet

ACCURACY_COLUMNS = ["system", "answer_mode", "n", "accuracy", "low", "high"]


def gptq_families(table: pd.DataFrame) -> list[list[str]]:
    """Return each original of the quantization table with its first GPTQ model of each width."""
    quantized = table.loc[table["method"] == "gptq"].drop_duplicates(["parent", "bits"])
    return [
        [str(parent), *rows.sort_values("bits", ascending=False)["model"]]
        for parent, rows in quantized.groupby("parent", sort=False)
    ]


def sources_by_level(problems: Sequence[Problem]) -> list[str]:
    """Return the sources of problems by mean level; those without levels go last."""
    levels: defaultdict[str, list[float]] = defaultdict(list)
    for problem in problems:
        levels[problem.source].append(inf if problem.level is None else problem.level)
    return sorted(levels, key=lambda source: fmean(levels[source]))


def read_accuracies(table: str, column: str, benchmark: str, answer_mode: str) -> pd.DataFrame:
    """Return the rows of an accuracy table for one benchmark and answer mode."""
    path = TABLES / f"{table}.csv"
    rows = read_frame(path, ["benchmark", column, *ACCURACY_COLUMNS])
    rows = rows.loc[(rows["benchmark"] == benchmark) & (rows["answer_mode"] == answer_mode)]
    if rows.empty:
        raise ValueError(
            f"{path}: no rows of benchmark {benchmark!r} with answer mode {answer_mode!r}"
        )
    return rows


def read_logs(models: Sequence[str], metrics: Sequence[str], column: str) -> pd.DataFrame:
    """Return the metrics of trained models by step; ``column`` holds the models' names.

    A metric that was not logged in a step is missing there.
    """
    tables = []
    for model in models:
        folder = TRAINING_LOGS / model / "plots" / "metrics"
        by_metric = [
            read_frame(folder / f"{metric}.tsv", ["step", metric], separator="\t")
            for metric in metrics
        ]
        merged = reduce(lambda left, right: left.merge(right, on="step", how="outer"), by_metric)
        tables.append(merged.assign(**{column: model}))
    return pd.concat(tables, ignore_index=True)


def read_non_empty(path: Path, row_type: type[RowT]) -> list[RowT]:
    """Read a Parquet table; raises ValueError naming the file if it has no rows."""
    rows = read_parquet(path, row_type)
    if not rows:
        raise ValueError(f"{path}: no rows: expected at least one")
    return rows
