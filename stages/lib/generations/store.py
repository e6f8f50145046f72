"""A resumable store of generations: a folder of Parquet shards, each written once.

A shard is written to a temporary file, synced and renamed. Its name ends with the SHA-256
of its bytes, so a shard is either whole or recognized as damaged. Rows are looked up by
their key. At the end of a run, ``compact`` moves the run's rows into shards whose
names and bytes depend only on the rows, not on how the run was interrupted.

Keys are read and compared as columns, a million rows in seconds. Texts are read shard
by shard, so memory does not grow with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import NonNegativeInt, ValidationError

from stages.lib.core.files import fsync
from stages.lib.core.schema import Generation, Prompting
from stages.lib.core.validation import describe_error

Key = tuple[str, str, Prompting, int, int, str]

_KEY = ("problem_id", "model", "prompting", "shots", "index", "prompt_sha")
_SCHEMA = pa.schema(
    [
        (field.name, pa.int64() if field.type is NonNegativeInt else pa.string())
        for field in fields(Generation)
    ]
)
_KEY_SCHEMA = pa.schema([_SCHEMA.field(name) for name in _KEY])

_HASH_DIGITS = 16
_ROWS_PER_SHARD = 50_000
_TEMPORARY = ".next.tmp"


def key(row: Generation) -> Key:
    """Return the key of a generation: problem, model, prompting, shots, index, prompt."""
    return (row.problem_id, row.model, row.prompting, row.shots, row.index, row.prompt_sha)


class Store:
    """Generations in one folder, which is created by the first write.

    Only one process may write at a time. Of rows with the same key only the first counts.
    Every method that reads raises ValueError naming a damaged shard.
    """

    def __init__(self, folder: Path) -> None:
        """Open a store without reading anything."""
        self.folder = folder
        self._next_number: int | None = None

    def rows(self) -> Iterator[Generation]:
        """Yield each generation once, in the order in which they were written."""
        shards = self._shards()
        firsts = _first_rows(pa.concat_tables(_key_tables(shards)))
        is_first = firsts == np.arange(len(firsts))
        start = 0
        for shard in shards:
            table = _read(shard, _SCHEMA.names)
            stop = start + table.num_rows
            yield from _generations(shard, table.filter(pa.array(is_first[start:stop])))
            start = stop

    def missing(self, keys: Sequence[Key]) -> set[Key]:
        """Return the keys that the store has no generation for."""
        stored = pa.concat_tables(_key_tables(self._shards()))
        rows = _find_rows(stored, keys)
        return {keys[i] for i in np.flatnonzero(rows >= stored.num_rows)}

    def get(self, keys: Sequence[Key]) -> Iterator[Generation]:
        """Yield the generations with these keys, in their order.

        Raises ValueError if one is missing.
        """
        for table in self._tables(keys):
            yield from _generations(self.folder, table)

    def append(self, rows: Sequence[Generation]) -> None:
        """Add a shard with these rows, which are on disk when this returns."""
        if self._next_number is None:
            self._next_number = len(self._shards())
        columns = {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}
        self._write(self._next_number, pa.table(columns, schema=_SCHEMA))
        self._next_number += 1

    def compact(self, keys: Sequence[Key]) -> None:
        """Keep exactly the rows with these keys, in their order.

        Raises ValueError if one is missing. Old shards are removed only after the new ones
        are on disk; until then a row that is in both is read once.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        old = self._shards()
        new = {self._write(number, table) for number, table in enumerate(self._tables(keys))}
        # From the last to the first: if the process is killed here, the first row of a key,
        # which is the one that counts, is still there for as long as any other is.
        for shard in reversed(old):
            if shard not in new:
                shard.unlink()
        (self.folder / _TEMPORARY).unlink(missing_ok=True)
        fsync(self.folder)
        self._next_number = None

    def _tables(self, keys: Sequence[Key]) -> Iterator[pa.Table]:
        """Yield the rows with these keys, in their order, as tables of the size of a shard."""
        shards = self._shards()
        key_tables = _key_tables(shards)
        edges = np.cumsum([table.num_rows for table in key_tables])
        rows = _find_rows(pa.concat_tables(key_tables), keys)
        n_missing = int((rows >= edges[-1]).sum())
        if n_missing:
            raise ValueError(f"{self.folder}: {n_missing} of {len(keys)} generations are missing")
        del key_tables  # frees memory before the texts are read
        for start in range(0, len(rows), _ROWS_PER_SHARD):
            yield _take(shards, edges, rows[start : start + _ROWS_PER_SHARD])

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _write(self, number: int, table: pa.Table) -> Path:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        tmp = self.folder / _TEMPORARY
        tmp.write_bytes(content)
        fsync(tmp)
        shard = self.folder / f"{number:06d}-{_digest(content)}.parquet"
        tmp.rename(shard)
        fsync(self.folder)
        return shard


def _digest(content: bytes | pa.Buffer) -> str:
    return sha256(content).hexdigest()[:_HASH_DIGITS]


def _key_tables(shards: Sequence[Path]) -> list[pa.Table]:
    """Return an empty table, so that there is one at least, and the keys of each shard."""
    return [_KEY_SCHEMA.empty_table(), *(_read(shard, _KEY) for shard in shards)]


def _read(shard: Path, columns: Sequence[str]) -> pa.Table:
    """Return columns of a shard, from the same bytes whose hash was checked."""
    content = shard.read_bytes()
    expected, digest = shard.stem.rpartition("-")[2], _digest(content)
    if digest != expected:
        raise ValueError(f"{shard}: damaged: sha256 begins {digest}, expected {expected}")
    file = pq.ParquetFile(pa.BufferReader(content))
    if not file.schema_arrow.equals(_SCHEMA):
        raise ValueError(
            f"{shard}: columns {', '.join(file.schema_arrow.names)}: expected those of a "
            f"generation: {', '.join(_SCHEMA.names)}"
        )
    # Without threads: most shards are too small for them, and a process may have been forked.
    return file.read(list(columns), use_threads=False).select(list(columns))


def _generations(where: Path, table: pa.Table) -> Iterator[Generation]:
    columns = [column.to_pylist() for column in table.columns]
    try:
        yield from map(Generation, *columns)
    except ValidationError as error:
        # The error has the index of a positional argument, not its name.
        index, _, problem = describe_error(error, []).partition(": ")
        raise ValueError(f"{where}: {_SCHEMA.names[int(index)]}: {problem}") from error


def _first_rows(keys: pa.Table) -> NDArray[np.int64]:
    """Return for each row the index of the first row with the same key."""
    # Column by column, each distinct key so far becomes an integer, counted from 0 in the
    # order of first rows. Encoding after every column keeps the products small.
    codes = np.zeros(keys.num_rows, np.int64)
    for column in keys.columns:
        values = _codes(column)
        codes = _codes(pa.chunked_array([codes * (values.max(initial=0) + 1) + values]))
    firsts = np.zeros(codes.max(initial=-1) + 1, np.int64)
    # Assigned from the last row to the first, so that the first one stays.
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    return firsts[codes]


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the values of a column as integers from 0, equal ones for equal values."""
    encoded = column.dictionary_encode()
    indices = [chunk.indices for chunk in encoded.chunks]  # all of one dictionary
    return pa.chunked_array(indices, pa.int32()).to_numpy().astype(np.int64)


def _find_rows(stored: pa.Table, keys: Sequence[Key]) -> NDArray[np.int64]:
    """Return the first row of ``stored`` with each key, or an index past its end if none has it."""
    columns = {name: [entry[i] for entry in keys] for i, name in enumerate(_KEY)}
    table = pa.table(columns, schema=_KEY_SCHEMA)
    return _first_rows(pa.concat_tables([stored, table]))[stored.num_rows :]


def _take(shards: Sequence[Path], edges: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Table:
    """Return rows by their indices over all shards; shard i has rows edges[i]..edges[i + 1]."""
    # Each shard is read once, for all its rows; then the rows are put back in order.
    order = np.argsort(rows)
    ascending = rows[order]
    parts = [
        _read(shards[i], _SCHEMA.names).take(ascending[start:stop] - edges[i])
        for i, (start, stop) in enumerate(pairwise(np.searchsorted(ascending, edges)))
        if start < stop
    ]
    # One chunk: pages of the file may end where chunks meet, and the bytes would differ.
    return pa.concat_tables(parts).combine_chunks().take(np.argsort(order))
