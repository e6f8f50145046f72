"""Files of raw rows: which there are, and what stands in them.

JSON, JSON Lines, both also compressed with gzip, and Parquet. They are data only: nothing
that could run is read, neither pickles nor a data set's own script.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.provenance import hub

ENDINGS = (".json", ".jsonl", ".parquet", ".json.gz", ".jsonl.gz")
BATCH = 4096
"""Rows of a Parquet file that are in memory at once."""


def files_of(path: str) -> list[Path]:
    """Return the files that a path names, sorted.

    It is a file, a folder (all its files of raw rows, at any depth), a pattern with ``*``,
    ``**``, ``?`` or ``[...]``, or ``hub:ORG/NAME@COMMIT/PATTERN`` for files of a data set on the
    Hugging Face Hub, of which those in the Hub's cache need no network. Raises ValueError for
    a malformed path or a file of another kind, FileNotFoundError if nothing is there, and
    OSError naming the remedy for what the Hub does not give (``stages.lib.provenance.hub``).
    """
    if path.startswith("hub:"):
        found = hub.files_at(hub.parse(path))
    elif Path(path).is_dir():
        found = _visible(one for one in Path(path).rglob("*") if one.name.endswith(ENDINGS))
    elif Path(path).is_file():
        found = [Path(path)]
    else:
        pattern = Path(path)
        found = _visible(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    if not found:
        raise FileNotFoundError(f"path: {path!r}: no files of {', '.join(ENDINGS)} there")
    for one in found:
        if not one.name.endswith(ENDINGS):
            raise ValueError(f"path: {one}: expected a file of {', '.join(ENDINGS)}")
    return found


def _visible(paths: Iterable[Path]) -> list[Path]:
    return sorted(one for one in paths if one.is_file() and not one.name.startswith("."))


def raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: JSON Lines one by one, Parquet in batches.

    A JSON file is a list of rows, one row, or rows on lines of their own. Raises ValueError
    naming the file, and the row (from 1) that is no object with fields.
    """
    if path.suffix == ".parquet":
        rows = _parquet_rows(path)
    elif ".jsonl" in path.suffixes:
        rows = _lines(path)
    else:
        rows = _json_rows(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}: row {number}: {row!r:.60}: expected an object with fields")
        yield row


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}") from error


def _lines(path: Path) -> Iterator[Any]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parsed(line, f"{path}: line {number}")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole file of text: {error}") from error


def _json_rows(path: Path) -> Iterator[Any]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            text = stream.read()
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole file of text: {error}") from error
    first = text.lstrip().partition("\n")[0].strip()
    if first.startswith("{") and first.endswith("}"):
        return _lines(path)
    whole = _parsed(text, str(path))
    return iter(whole if isinstance(whole, list) else [whole])


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from error
