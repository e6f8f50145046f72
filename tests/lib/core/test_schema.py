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
    "a",
    question="What is 1 + 1?",
    answer="2",
    solution="1 + 1 = 2.",
    program="print(1 + 1)",
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


BAD_LINES = [
    ({"answer": None}, "line 2: answer: None: "),
    ({"answer": ""}, "line 2: answer: '': "),
    ({"kind": "essay"}, "line 2: kind: 'essay': "),
    ({"level": "hard"}, "line 2: level: 'hard': expected a whole number"),
    ({"topics": "red"}, r"line 2: topics: unknown key; did you mean topic\?"),
]


@pytest.mark.parametrize(("change", "message"), BAD_LINES)
def test_a_bad_line_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [asdict(PROBLEM), asdict(PROBLEM) | change]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=f"rows.jsonl: {message}"):
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not an object"),
        ('{"id": "a"}', "line 1: source: missing"),
    ],
)
def test_a_line_of_another_shape_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_jsonl(path, Problem)


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
    ("name", "values", "message"),
    [
        ("index", [0, -1], "row 1: index: -1: "),
        ("index", ["0", "0"], "row 0: index: '0': "),
        ("status", ["wrong", "fine"], "row 1: status: 'fine': "),
        ("extracted", ["2", None], "row 1: extracted: None: "),
    ],
)
def test_a_bad_row_of_a_table_is_named(
    tmp_path: Path, name: str, values: list[Any], message: str
) -> None:
    columns = {key: [value, value] for key, value in asdict(GRADE).items()}
    pq.write_table(pa.table(columns | {name: values}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=f"rows.parquet: {message}"):
        read_parquet(tmp_path / "rows.parquet", SampleGrade)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"colour": ["red"]}, "colour: unknown"), ({"status": None}, "status: missing")],
)
def test_a_table_with_other_columns_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    columns = {name: [value] for name, value in asdict(GRADE).items()} | change
    columns = {name: values for name, values in columns.items() if values is not None}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=f"rows.parquet: row 0: {message}"):
        read_parquet(tmp_path / "rows.parquet", SampleGrade)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    columns = {name: [value] for name, value in reversed(asdict(GRADE).items())}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet", SampleGrade) == [GRADE]
