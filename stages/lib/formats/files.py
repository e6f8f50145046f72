"""Find and read files of raw rows.

JSON and JSON Lines, either also compressed with gzip, and Parquet. Files are only parsed,
never run: no pickles, no loading scripts of data sets.
"""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.provenance import hub

SUFFIXES = (".json", ".jsonl", ".parquet", ".json.gz", ".jsonl.gz")
BATCH = 4096
"""Rows of a Parquet file that are in memory at once."""


def find_files(path: str) -> list[Path]:
    """Return the files that a path names, sorted.

    The path is a file, a folder (all its files of raw rows, at any depth), a pattern with ``*``,
    ``**``, ``?`` or ``[...]``, or ``hub:ORG/NAME@COMMIT/PATTERN`` for files of a data set on the
    Hugging Face Hub; files in the Hub's cache need no network. Hidden files are skipped. Raises
    ValueError for a malformed path or a file of another kind, FileNotFoundError if no file is
    there, and OSError naming the remedy if the Hub refuses (``stages.lib.provenance.hub``).
    """
    if path.startswith("hub:"):
        paths = hub.fetch_files(hub.parse_hub_path(path))
    elif Path(path).is_dir():
        paths = _visible(file for file in Path(path).rglob("*") if file.name.endswith(SUFFIXES))
    elif Path(path).is_file():
        paths = [Path(path)]
    else:
        pattern = Path(path)
        paths = _visible(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    if not paths:
        raise FileNotFoundError(f"path: {path!r}: no files of {', '.join(SUFFIXES)} there")
    for file in paths:
        if not file.name.endswith(SUFFIXES):
            raise ValueError(f"path: {file}: expected a file of {', '.join(SUFFIXES)}")
    return paths


def raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: JSON Lines one by one, Parquet in batches.

    A JSON file is a list of rows, one row, or one row per line. Raises ValueError naming
    the file, and the row (from 1) that is not an object with fields.
    """
    if path.suffix == ".parquet":
        rows = _parquet_rows(path)
    elif ".jsonl" in path.suffixes:
        rows = _json_lines(path)
    else:
        rows = _json_rows(path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}: row {number}: {row!r:.60}: expected an object with fields")
        yield row


def _visible(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _parquet_rows(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, compressed or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with cast(TextIO, opener(path, "rt", encoding="utf-8")) as lines:
            yield from lines
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole file of text: {error}") from error


def _json_lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield _parse_json(line, f"{path}: line {number}")


def _json_rows(path: Path) -> Iterator[Any]:
    text = "".join(_lines(path))
    # Some data sets publish JSON Lines under the name of JSON.
    first_line = text.lstrip().partition("\n")[0].strip()
    if first_line.startswith("{") and first_line.endswith("}"):
        return _json_lines(path)
    content = _parse_json(text, str(path))
    return iter(content if isinstance(content, list) else [content])


def _parse_json(text: str, label: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{label}: not JSON: {error}") from error
