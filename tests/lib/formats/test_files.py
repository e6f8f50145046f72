"""Files of raw rows, of every kind and in every place."""

import gzip
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.formats import files
from stages.lib.formats.files import SUFFIXES, find_files, raw_rows

ROWS: list[dict[str, Any]] = [
    {"question": f"{n} + ½?", "turns": [{"value": str(n)}]} for n in range(5)
]


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(json.dumps(row) for row in rows) + "\n"
    text = lines if ".jsonl" in path.suffixes else json.dumps(rows, indent=1)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


class TestRows:
    @pytest.mark.parametrize("ending", SUFFIXES)
    def test_every_kind_of_file_gives_the_same_rows(
        self, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "BATCH", 2)
        assert list(raw_rows(write(tmp_path / f"rows{ending}", ROWS))) == ROWS

    @pytest.mark.parametrize("indent", [None, 2])
    def test_a_json_file_may_be_one_row(self, indent: int | None, tmp_path: Path) -> None:
        path = tmp_path / "1.json"
        path.write_text(json.dumps(ROWS[0], indent=indent))
        assert list(raw_rows(path)) == ROWS[:1]

    def test_a_json_file_may_have_rows_on_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path / "rows.jsonl", ROWS).rename(tmp_path / "rows.json")
        assert list(raw_rows(path)) == ROWS

    def test_blank_lines_are_none(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"a": 1}\n\n{"a": 2}\n\n')
        assert list(raw_rows(path)) == [{"a": 1}, {"a": 2}]

    def test_json_lines_stream(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"a": 1}\n{"a": ')
        rows = raw_rows(path)
        assert next(rows) == {"a": 1}
        with pytest.raises(ValueError, match=r"rows\.jsonl: line 2: not JSON"):
            next(rows)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.json", b"[{}, 3]", "row 2: 3: expected an object with fields"),
            ("a.json", b"[{}", "not JSON"),
            ("a.jsonl", b'{}\n"text"\n', "row 2: 'text': expected an object with fields"),
            ("a.jsonl", b'{"a": "\xff"}\n', "not a whole file of text"),
            ("a.json.gz", gzip.compress(b"[{}]", mtime=0)[:-9], "not a whole file of text"),
            ("a.jsonl.gz", b"{}\n", "not a whole file of text"),
            ("a.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ],
    )
    def test_a_damaged_file_is_named(
        self, name: str, content: bytes, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
            list(raw_rows(path))


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("b.jsonl", "a.parquet", "deep/c.json.gz", ".hidden.json"):
            write(tmp_path / name, ROWS)
        (tmp_path / "README.md").write_text("Not rows.")
        return tmp_path

    @pytest.mark.parametrize(
        ("path", "names"),
        [
            ("", ["a.parquet", "b.jsonl", "deep/c.json.gz"]),
            ("b.jsonl", ["b.jsonl"]),
            ("*.[jp]*", ["a.parquet", "b.jsonl"]),
            ("**/*.json*", ["b.jsonl", "deep/c.json.gz"]),
        ],
    )
    @pytest.mark.parametrize("relative", [False, True])
    def test_a_file_a_folder_and_a_pattern(
        self,
        path: str,
        names: list[str],
        relative: bool,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(folder)
        given = path or "." if relative else f"{folder}/{path}"
        assert [file.resolve() for file in find_files(given)] == [folder / name for name in names]

    def test_nothing_there(self, folder: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"path: '.*/\*\.gz': no files of \.json, "):
            find_files(f"{folder}/*.gz")

    def test_a_pickle_is_refused_before_it_is_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.pkl"
        path.write_bytes(pickle.dumps(ROWS))
        with pytest.raises(ValueError, match=r"rows\.pkl: expected a file of \.json, \.jsonl"):
            find_files(str(path))

    @pytest.mark.parametrize(
        "path", ["hub:a/b", "hub:a/b@main/*.parquet", f"hub:b@{'0' * 40}/x", f"hub:a/b@{'0' * 40}/"]
    )
    def test_a_malformed_path_of_the_hub(self, path: str) -> None:
        with pytest.raises(ValueError, match=re.escape(f"path: {path!r}: expected hub:ORG/NAME@")):
            find_files(path)
