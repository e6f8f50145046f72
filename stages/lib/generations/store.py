"""A resumable store of generations: a folder of Parquet shards, written once each.

A shard is written aside, synced and renamed; its name carries the SHA-256 of its
bytes, so a shard is either whole or recognized as damaged. Rows are found again by
their key. When a run is complete, ``compact`` puts the wanted rows into shards whose
names and bytes depend on the rows alone, not on how the run was interrupted.

Keys are read and compared as columns, a million rows in seconds; texts are read shard
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
from pydantic import ValidationError

from stages.lib.core.files import fsync
from stages.lib.core.schema import Count, Generation, Prompting

Key = tuple[str, str, Prompting, int, int, str]

_KEY = ("problem_id", "model", "prompting", "shots", "index", "prompt_sha")
_SCHEMA = pa.schema(
    [
        (field.name, pa.int64() if field.type is Count else pa.string())
        for field in fields(Generation)
    ]
)
_KEY_SCHEMA = pa.schema([_SCHEMA.field(name) for name in _KEY])
_NO_KEYS = _KEY_SCHEMA.empty_table()

_DIGITS = 16
_ROWS_PER_SHARD = 50_000
_ASIDE = ".next.tmp"


def key(row: Generation) -> Key:
    """Return what identifies a generation: problem, model, prompting, shots, index, prompt."""
    return (row.problem_id, row.model, row.prompting, row.shots, row.index, row.prompt_sha)


class Store:
    """Generations under one folder, which is made on the first write.

    One process writes at a time. Of rows that stand twice the first counts. Whatever reads
    raises ValueError naming a shard whose bytes are not those that were written.
    """

    def __init__(self, folder: Path) -> None:
        """Open a store; nothing is read yet."""
        self.folder = folder
        self._next: int | None = None

    def rows(self) -> Iterator[Generation]:
        """Yield each generation once, in the order in which they were written."""
        shards = self._shards()
        firsts = _firsts(pa.concat_tables([_NO_KEYS, *(_read(shard, _KEY) for shard in shards)]))
        counts = firsts == np.arange(len(firsts))
        start = 0
        for shard in shards:
            table = _read(shard, _SCHEMA.names)
            here = slice(start, start + table.num_rows)
            start = here.stop
            yield from _generations(shard, table.filter(pa.array(counts[here])))

    def missing(self, wanted: Sequence[Key]) -> set[Key]:
        """Return those of ``wanted`` that are not on disk."""
        found = pa.concat_tables([_NO_KEYS, *(_read(shard, _KEY) for shard in self._shards())])
        places = _places(found, wanted)
        return {wanted[i] for i in np.flatnonzero(places >= found.num_rows)}

    def found(self, wanted: Sequence[Key]) -> Iterator[Generation]:
        """Yield the wanted generations, in the order of ``wanted``.

        Raises ValueError if one is missing.
        """
        for table in self._tables(wanted):
            yield from _generations(self.folder, table)

    def append(self, rows: Sequence[Generation]) -> None:
        """Add a shard; when this returns, the rows are on disk."""
        if self._next is None:
            self._next = len(self._shards())
        columns = [
            pa.array([getattr(row, field.name) for row in rows], field.type) for field in _SCHEMA
        ]
        self._write(self._next, pa.Table.from_arrays(columns, schema=_SCHEMA))
        self._next += 1

    def compact(self, wanted: Sequence[Key]) -> None:
        """Keep exactly the wanted rows, in the order of ``wanted``.

        Raises ValueError if one is missing. Old shards go only after the new ones
        are on disk; a row that stands in both is read once.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        old = self._shards()
        new = {self._write(number, table) for number, table in enumerate(self._tables(wanted))}
        # From the last on: of rows that stand twice the first stays until no other is there.
        for shard in reversed(old):
            if shard not in new:
                shard.unlink()
        (self.folder / _ASIDE).unlink(missing_ok=True)
        fsync(self.folder)
        self._next = None

    def _tables(self, wanted: Sequence[Key]) -> Iterator[pa.Table]:
        shards = self._shards()
        found = [_NO_KEYS, *(_read(shard, _KEY) for shard in shards)]
        edges = np.cumsum([table.num_rows for table in found])
        places = _places(pa.concat_tables(found), wanted)
        missing = int((places >= edges[-1]).sum())
        if missing:
            raise ValueError(f"{self.folder}: {missing} of {len(wanted)} generations are missing")
        del found
        for start in range(0, len(places), _ROWS_PER_SHARD):
            yield _take(shards, edges, places[start : start + _ROWS_PER_SHARD])

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def _write(self, number: int, table: pa.Table) -> Path:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        written = sink.getvalue()
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / _ASIDE
        aside.write_bytes(written)
        fsync(aside)
        shard = self.folder / f"{number:06d}-{_digest(written)}.parquet"
        aside.rename(shard)
        fsync(self.folder)
        return shard


def _digest(written: bytes | pa.Buffer) -> str:
    return sha256(written).hexdigest()[:_DIGITS]


def _read(shard: Path, columns: Sequence[str]) -> pa.Table:
    """Return columns of a shard, from the very bytes that its name agrees with."""
    written = shard.read_bytes()
    expected, found = shard.stem.rpartition("-")[2], _digest(written)
    if found != expected:
        raise ValueError(f"{shard}: damaged: sha256 begins {found}, expected {expected}")
    file = pq.ParquetFile(pa.BufferReader(written))
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
        first = error.errors()[0]
        field = _SCHEMA.names[int(first["loc"][0])]
        raise ValueError(f"{where}: {field}: {first['input']!r}: {first['msg']}") from error


def _firsts(keys: pa.Table) -> NDArray[np.int64]:
    """Return for each row the number of the first row with the same key.

    Column by column, keys become whole numbers in the order of their first rows.
    """
    codes = np.zeros(keys.num_rows, np.int64)
    for column in keys.columns:
        values = _codes(column)
        codes = _codes(pa.chunked_array([codes * (values.max(initial=0) + 1) + values]))
    firsts = np.zeros(codes.max(initial=-1) + 1, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    return firsts[codes]


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    encoded = column.dictionary_encode()
    indices = [chunk.indices for chunk in encoded.chunks]  # of one dictionary
    return pa.chunked_array(indices, pa.int32()).to_numpy().astype(np.int64)


def _places(found: pa.Table, wanted: Sequence[Key]) -> NDArray[np.int64]:
    """Return the row of ``found`` that has each wanted key; behind its end, if none has."""
    columns = [
        pa.array([one[i] for one in wanted], field.type) for i, field in enumerate(_KEY_SCHEMA)
    ]
    asked = pa.Table.from_arrays(columns, schema=_KEY_SCHEMA)
    return _firsts(pa.concat_tables([found, asked]))[found.num_rows :]


def _take(shards: Sequence[Path], edges: NDArray[np.int64], places: NDArray[np.int64]) -> pa.Table:
    """Return rows by their places in all shards; shard i has those of edges[i]..edges[i + 1]."""
    order = np.argsort(places)
    ascending = places[order]
    parts = [
        _read(shards[i], _SCHEMA.names).take(ascending[start:stop] - edges[i])
        for i, (start, stop) in enumerate(pairwise(np.searchsorted(ascending, edges)))
        if start < stop
    ]
    # In one piece: where pieces meet, pages of the file may end.
    return pa.concat_tables(parts).combine_chunks().take(np.argsort(order))
