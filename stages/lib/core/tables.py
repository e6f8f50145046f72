"""Read and write tables: checked Parquet, checked JSON Lines, and CSV."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from stages.lib.core.files import atomic_replace
from stages.lib.core.schema import RowT
from stages.lib.core.validation import describe_error


def write_csv(
    path: Path, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = ()
) -> None:
    """Write rows that share their columns, whole or not at all.

    Raises ValueError for no rows, unless the ``columns`` of the empty table are given.
    """
    if not rows and not columns:
        raise ValueError(f"{path}: no rows to write")
    with atomic_replace(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as text."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_parquet(path: Path, row_type: type[RowT]) -> list[RowT]:
    """Read a Parquet table as checked rows.

    Raises ValueError naming the file, the row and the field if a row is not a ``row_type``,
    and FileNotFoundError if there is no file.
    """
    table = _read(path)
    names = [field.name for field in fields(cast(Any, row_type))]
    if sorted(names) == sorted(table.column_names):
        columns = [table[name].to_pylist() for name in names]
        # Positional arguments take a third of the time. If a row is invalid, the slow way
        # below says which.
        with suppress(ValidationError):
            return [row_type(*values) for values in zip(*columns, strict=True)]
    return _checked(path, table.to_pylist(), row_type, what="row", first=0)


def write_parquet(path: Path, rows: Sequence[Any], *, may_be_empty: type | None = None) -> None:
    """Write rows of one type, whole or not at all.

    Raises ValueError for no rows, unless ``may_be_empty`` is their type.
    """
    if rows:
        table = as_table(rows)
    elif may_be_empty is not None:
        table = pa.table({field.name: pa.nulls(0) for field in fields(may_be_empty)})
    else:
        raise ValueError(f"{path}: no rows to write")
    with atomic_replace(path) as tmp:
        pq.write_table(table, tmp, compression="zstd", write_page_checksum=True)


def as_table(rows: Sequence[Any]) -> pa.Table:
    """Return rows of one type, at least one, as a table; nested rows become structs."""
    return pa.table({field.name: _column(rows, field.name) for field in fields(rows[0])})


def read_jsonl(path: Path, row_type: type[RowT]) -> list[RowT]:
    """Read a JSON Lines file as checked rows; errors name the file and the line."""
    values = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                values.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: line {number}: not JSON: {error}") from error
    return _checked(path, values, row_type, what="line", first=1)


def _column(rows: Sequence[Any], name: str) -> list[Any]:
    values = [getattr(row, name) for row in rows]
    if not isinstance(values[0], list):
        return values
    return [[asdict(item) if is_dataclass(item) else item for item in value] for value in values]  # type: ignore[arg-type]


def _read(path: Path) -> pa.Table:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such table")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        _ = table.column_names  # Arrow decodes the names only here: damage in them shows now
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}") from error
    return table


def _checked(
    path: Path, values: Iterable[Any], row_type: type[RowT], *, what: str, first: int
) -> list[RowT]:
    rows = []
    for number, value in enumerate(values, start=first):
        try:
            rows.append(row_type(**value))
        except ValidationError as error:
            raise ValueError(
                f"{path}: {what} {number}: {describe_error(error, value, row_type)}"
            ) from error
        except TypeError as error:
            raise ValueError(f"{path}: {what} {number}: not an object with fields") from error
    return rows
