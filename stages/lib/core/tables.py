"""Read and write tables: checked Parquet, checked JSON Lines, and CSV."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from stages.lib.core.files import atomic_replace
from stages.lib.core.schema import RowT
from stages.lib.core.validation import describe_error

_BATCH_ROWS = 50_000


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
    """Read a Parquet table as checked rows; errors are those of ``scan_parquet``."""
    return list(scan_parquet(path, row_type))


def scan_parquet(path: Path, row_type: type[RowT]) -> Iterator[RowT]:
    """Yield the checked rows of a Parquet table, of which a batch is held in memory.

    Raises ValueError naming the file, the row and the field if a row is not a ``row_type``,
    and FileNotFoundError if there is no file.
    """
    names = [field.name for field in fields(cast(Any, row_type))]
    first = 0
    for batch in _read(path):
        yield from _rows(path, batch, row_type, names, first)
        first += batch.num_rows


def read_column(path: Path, name: str) -> list[Any]:
    """Read one column of a Parquet table, without a check of its values.

    Raises ValueError naming the file if it has no such column, and FileNotFoundError for no file.
    """
    return [value for batch in _read(path, [name]) for value in batch[name].to_pylist()]


def write_parquet(path: Path, rows: Iterable[Any], *, may_be_empty: type | None = None) -> None:
    """Write rows of one type, whole or not at all; a batch of them is held in memory.

    Raises ValueError for no rows, unless ``may_be_empty`` is their type.
    """
    remaining = iter(rows)
    tables = []
    while batch := list(islice(remaining, _BATCH_ROWS)):
        tables.append(as_table(batch))
    if tables:
        # A column that is empty in one batch takes its type from the others.
        table = pa.concat_tables(tables, promote_options="default")
    elif may_be_empty is not None:
        table = pa.table({field.name: pa.nulls(0) for field in fields(may_be_empty)})
    else:
        raise ValueError(f"{path}: no rows to write")
    with atomic_replace(path) as tmp:
        pq.write_table(
            table, tmp, compression="zstd", write_page_checksum=True, row_group_size=_BATCH_ROWS
        )


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


def _read(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such table")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            if sum(groups) != file.metadata.num_rows:
                raise pa.ArrowInvalid(f"{sum(groups)} rows: expected {file.metadata.num_rows}")
            # Not ``iter_batches``, which overlooks a changed number of rows.
            if missing := set(columns or ()) - set(file.schema_arrow.names):
                raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
            for number in range(len(groups)):
                batch = file.read_row_group(number, columns=columns)
                _ = batch.column_names  # Arrow decodes the names only here: damage shows now
                yield batch
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}") from error


def _rows(
    path: Path, batch: pa.Table, row_type: type[RowT], names: Sequence[str], first: int
) -> list[RowT]:
    if sorted(names) == sorted(batch.column_names):
        columns = [batch[name].to_pylist() for name in names]
        # Positional arguments take a third of the time. If a row is invalid, the slow way
        # below says which.
        with suppress(ValidationError):
            return [row_type(*values) for values in zip(*columns, strict=True)]
    return _checked(path, batch.to_pylist(), row_type, what="row", first=first)


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
