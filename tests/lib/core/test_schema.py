"""Rows check themselves, and tables are whole or refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.core.schema import Conversation, Problem, SampleGrade, Turn, content_id
from stages.lib.core.tables import as_table, read_jsonl, read_parquet, write_parquet
from tests.rows import make_problem

PROBLEM = make_problem(
    "a", question="What is 1 + 1?", answer="2", solution="1 + 1 = 2.", program="print(1 + 1)"
)


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "problems.parquet"
    write_parquet(path, [PROBLEM, PROBLEM])
    assert read_parquet(path, Problem) == [PROBLEM, PROBLEM]
    assert [child.name for child in path.parent.iterdir()] == ["problems.parquet"]


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty.parquet: no rows"):
        write_parquet(tmp_path / "empty.parquet", [])


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.parquet: no such table"):
        read_parquet(tmp_path / "none.parquet", Problem)


def test_half_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.parquet"
    write_parquet(path, [PROBLEM])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="half.parquet: not a whole Parquet file"):
        read_parquet(path, Problem)


ROW = asdict(PROBLEM)
BAD_LINES = [
    ("{", "not JSON"),
    ("[]", "not an object"),
    ('{"id": "a"}', "source: missing"),
    (json.dumps(ROW | {"answer": None}), "answer: None: "),
    (json.dumps(ROW | {"answer": ""}), "answer: '': "),
    (json.dumps(ROW | {"kind": "essay"}), "kind: 'essay': "),
    (json.dumps(ROW | {"level": "hard"}), "level: 'hard': expected a whole number"),
    (json.dumps(ROW | {"topics": "red"}), r"topics: unknown key; did you mean topic\?"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n{line}\n")
    with pytest.raises(ValueError, match=f"rows.jsonl: line 2: {message}"):
        read_jsonl(path, Problem)


def test_a_changed_bit_changes_no_row_unseen(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [replace(PROBLEM, id=str(number), question="?" * number) for number in range(1, 200)]
    write_parquet(path, rows)
    written, noticed = path.read_bytes(), 0
    for bit in np.random.default_rng(1).integers(0, len(written) * 8, 200).tolist():
        changed = bytearray(written)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert read_parquet(path, Problem) == rows
        except ValueError as error:
            assert str(error).startswith(str(path))
            noticed += 1
    assert noticed > 100


def test_an_id_depends_on_where_its_parts_end() -> None:
    assert content_id("ab", "c") != content_id("a", "bc")
    assert len(content_id("a")) == 16


TALK = Conversation("c", "s", "", [Turn("Hello?", "Hello."), Turn("And?", "That is all.")])
GRADE = SampleGrade("p", "cot", 0, "correct", "2")


@pytest.mark.parametrize("row", [PROBLEM, replace(PROBLEM, level=None), TALK, GRADE])
def test_columns_hold_what_rows_as_mappings_would(row: Any) -> None:
    expected = pa.Table.from_pylist([asdict(row), asdict(row)])
    assert as_table([row, row]).equals(expected, check_metadata=True)


def test_rows_inside_a_row_come_back(tmp_path: Path) -> None:
    write_parquet(tmp_path / "talk.parquet", [TALK])
    assert read_parquet(tmp_path / "talk.parquet", Conversation) == [TALK]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": [0, -1]}, "row 1: index: -1: "),
        ({"index": ["0", "0"]}, "row 0: index: '0': "),
        ({"status": ["wrong", "fine"]}, "row 1: status: 'fine': "),
        ({"extracted": ["2", None]}, "row 1: extracted: None: "),
        ({"colour": ["red", "red"]}, "row 0: colour: unknown"),
        ({"status": None}, "row 0: status: missing"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    columns = {name: [value, value] for name, value in asdict(GRADE).items()} | change
    columns = {name: values for name, values in columns.items() if values is not None}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=f"rows.parquet: {message}"):
        read_parquet(tmp_path / "rows.parquet", SampleGrade)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    columns = {name: [value] for name, value in reversed(asdict(GRADE).items())}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet", SampleGrade) == [GRADE]
