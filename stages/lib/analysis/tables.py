"""Tables of numbers: from files, with errors that name the file, and from rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.lib.analysis.speeds import NO_KERNEL


def read_frame(
    path: Path, columns: Sequence[str], *, separator: str = ",", may_be_empty: bool = False
) -> pd.DataFrame:
    """Read a table that has the named columns; a speed without a kernel is missing.

    Raises ValueError naming the file if it has no header, lacks a column, or, unless it
    ``may_be_empty``, has no rows; and FileNotFoundError if there is none.
    """
    try:
        table = pd.read_csv(path, sep=separator, na_values=[NO_KERNEL])
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path}: empty: expected a table") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r}: missing")
    if table.empty and not may_be_empty:
        raise ValueError(f"{path}: no rows: expected at least one")
    return table


def select_columns(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of rows; pandas itself would copy every row with all its fields."""
    return pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns})
