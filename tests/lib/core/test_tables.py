"""Tables in batches; what a single row must be is tested with its type, in ``test_schema``."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.lib.core import tables
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_column, read_parquet, scan_parquet, write_parquet
from tests.rows import make_problem


@pytest.fixture(autouse=True)
def two_rows_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BATCH_ROWS", 2)


def problems(levels: list[int | None]) -> list[Problem]:
    return [replace(make_problem(f"p{i}"), level=level) for i, level in enumerate(levels)]


def test_rows_of_several_batches_come_back_in_order(tmp_path: Path) -> None:
    # No problem of the first batch has a level: its type shows only in the second.
    rows = problems([None, None, 3, None, 5])
    path = tmp_path / "problems.parquet"
    write_parquet(path, iter(rows))
    assert read_parquet(path, Problem) == rows
    assert read_column(path, "level") == [None, None, 3, None, 5]
    with pytest.raises(ValueError, match=r"problems\.parquet: no column levels$"):
        read_column(path, "levels")


def test_a_row_is_checked_only_when_its_batch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "problems.parquet"
    write_parquet(path, problems([1, 2, -3, 4, 5]))
    table = pq.read_table(path)
    answers = table["answer"].to_pylist()
    answers[3] = ""
    changed = table.set_column(table.column_names.index("answer"), "answer", [answers])
    pq.write_table(changed, path, row_group_size=2)
    rows = scan_parquet(path, Problem)
    assert [next(rows).id, next(rows).id] == ["p0", "p1"]
    with pytest.raises(ValueError, match=r"problems\.parquet: row 3: answer: ''"):
        list(rows)


def test_nothing_is_written_if_the_rows_end_with_an_error(tmp_path: Path) -> None:
    def failing() -> Iterator[Problem]:
        yield from problems([1, 2, 3])
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_parquet(tmp_path / "problems.parquet", failing())
    assert list(tmp_path.iterdir()) == []
