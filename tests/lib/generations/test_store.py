"""The store loses nothing, doubles nothing, and recognizes a damaged shard."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.core.schema import Generation
from stages.lib.generations.store import Store, key
from stages.lib.runtime import console
from tests.rows import make_generation


def row(problem: str, index: int = 0, text: str = "two") -> Generation:
    return make_generation(problem, "cot", index=index, text=text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_empty_store_has_no_keys(tmp_path: Path) -> None:
    assert list(Store(tmp_path / "none").rows()) == []


def test_rows_come_back_over_several_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a"), row("b")])
    store.append([row("c")])
    assert list(Store(tmp_path).rows()) == [row("a"), row("b"), row("c")]


def test_a_row_that_is_stored_twice_is_read_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    store.append([row("a"), row("b")])
    assert list(store.rows()) == [row("a"), row("b")]


def test_compacting_forgets_how_the_rows_came(tmp_path: Path) -> None:
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    whole.append([row("a"), row("b"), row("c")])
    parts.append([row("c"), row("other")])
    parts.append([row("b")])
    parts.append([row("a")])
    for store in (whole, parts):
        store.compact([key(row(problem)) for problem in "abc"])
    compacted = names(whole.folder)
    assert names(parts.folder) == compacted
    assert list(parts.rows()) == [row("a"), row("b"), row("c")]
    parts.compact([key(row(problem)) for problem in "abc"])
    assert names(parts.folder) == compacted


def test_compacting_without_a_row_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    with pytest.raises(ValueError, match="1 of 2 generations are missing"):
        store.compact([key(row("a")), key(row("b"))])
    assert list(store.rows()) == [row("a")]


def test_rows_come_in_the_order_of_their_keys_and_missing_ones_are_reported(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a"), row("b")])
    store.append([row("a", 1), row("c")])
    keys = [key(row(problem, index)) for problem, index in (("c", 0), ("a", 0), ("a", 1))]
    assert list(store.get(keys)) == [row("c"), row("a"), row("a", 1)]
    assert store.missing(keys) == set()
    absent = [key(row("b", 1)), key(replace(row("a"), prompt_sha="q"))]
    assert store.missing([*keys, *absent, *absent]) == set(absent)
    with pytest.raises(ValueError, match="2 of 5 generations are missing"):
        list(store.get([*keys, *absent]))


# Joined with any separator, some of these would be the same.
ALIKE = [("a", "b c"), ("a b", "c"), ("a", "b\x1fc"), ("a\x1fb", "c"), ("", "abc"), ("abc", "")]


def test_keys_are_the_same_only_if_every_part_is(tmp_path: Path) -> None:
    rows = [replace(row(problem), model=model) for problem, model in ALIKE]
    store = Store(tmp_path)
    for other in rows:
        store.append([other, rows[0]])
    assert list(store.rows()) == rows
    assert list(store.get([key(other) for other in reversed(rows)])) == rows[::-1]


def test_compacting_writes_what_all_rows_at_once_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.lib.generations.store._ROWS_PER_SHARD", 4_000)
    monkeypatch.setattr("stages.lib.generations.store.fsync", unsynced)
    rng = np.random.default_rng(0)
    rows = [row(str(i), text=rng.bytes(150).hex()) for i in range(6_000)]  # more than a page
    store = Store(tmp_path / "store")
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    for start in range(0, len(shuffled), 256):
        store.append(shuffled[start : start + 256])
    store.compact(list(map(key, rows)))
    expected = []
    for number, start in enumerate((0, 4_000)):
        file = tmp_path / "expected.parquet"
        table = pa.Table.from_pylist([asdict(row) for row in rows[start : start + 4_000]])
        pq.write_table(table, file, compression="zstd")
        expected.append(f"{number:06d}-{sha256(file.read_bytes()).hexdigest()[:16]}.parquet")
    assert names(store.folder) == expected


class Crash(BaseException):
    """The end of the process."""


def unsynced(path: Path) -> None:
    """Save the time of syncing, which matters only if the power fails."""


def crash_at(step: int, patched: pytest.MonkeyPatch) -> None:
    """Let the process end before its step-th change to the disk."""
    steps = count(1)

    def crashing(change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                raise Crash
            return change(*args, **kwargs)

        return run

    patched.setattr("stages.lib.generations.store.fsync", crashing(unsynced))
    for name in ("write_bytes", "rename", "unlink"):
        patched.setattr(Path, name, crashing(getattr(Path, name)))


# Three shards take a write, a sync, a rename and a sync each; three are removed; then the
# temporary file is removed and the folder synced.
STEPS = 3 * 4 + 3 + 2


@pytest.mark.parametrize("step", range(1, STEPS + 2))
def test_a_crash_at_any_step_of_compacting_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr("stages.lib.generations.store._ROWS_PER_SHARD", 3)
    monkeypatch.setattr("stages.lib.generations.store.fsync", unsynced)
    rows = [row(problem) for problem in "abcdefgh"]
    keys = list(map(key, rows))
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "crashed")
    whole.append(rows)
    whole.compact(keys)
    store.append([rows[7], row("other")])
    # A second generation with the same key, which never counts.
    store.append([replace(rows[7], text="another"), *rows[:4]])
    store.append(rows[4:7])
    with monkeypatch.context() as patched:
        crash_at(step, patched)
        with nullcontext() if step > STEPS else pytest.raises(Crash):
            store.compact(keys)
    again = Store(store.folder)
    assert list(again.get(keys)) == rows
    stored = sorted(row.problem_id for row in again.rows() if row.problem_id != "other")
    assert stored == [*"abcdefgh"]
    again.compact(keys)
    assert names(again.folder) == names(whole.folder)


READERS: dict[str, Callable[[Store], object]] = {
    "rows": lambda store: list(store.rows()),
    "missing": lambda store: store.missing([key(row("a"))]),
    "get": lambda store: list(store.get([key(row("a"))])),
    "compact": lambda store: store.compact([key(row("a"))]),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_shard_is_named(tmp_path: Path, reader: str) -> None:
    Store(tmp_path).append([row("a")])
    Store(tmp_path).append([row("b")])
    shard = sorted(tmp_path.glob("*.parquet"))[1]
    content = shard.read_bytes()
    damaged = [content[:-1]]
    for i in (0, 4, len(content) // 2, len(content) - 40, len(content) - 1):
        damaged.append(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
    for other in damaged:
        shard.write_bytes(other)
        with pytest.raises(ValueError, match=f"{shard.name}: damaged"):
            READERS[reader](Store(tmp_path))
    shard.write_bytes(content)
    READERS[reader](Store(tmp_path))


def test_a_stage_ends_in_one_line_that_names_a_damaged_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["score"])
    store = Store(Path("data/samples"))
    store.append([row("a")])
    (shard,) = store.folder.iterdir()
    damaged = bytearray(shard.read_bytes())
    damaged[40] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(SystemExit) as end:
        console.run_stage("score", lambda: console.log_line(str(list(store.rows()))))
    assert end.value.code == 1
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"score: {shard}: damaged: sha256 begins ")
    assert output.err.count("\n") == 1


def test_a_shard_of_something_else_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.parquet"
    for columns, message in (
        ({"problem_id": "a", "answer": "4"}, "columns problem_id, answer: expected those"),
        (asdict(row("a")) | {"prompting": "cat"}, "prompting: 'cat': expected 'cot' or 'pot'"),
    ):
        table = pa.table({name: [value] for name, value in columns.items()})
        pq.write_table(table, file)
        digest = sha256(file.read_bytes()).hexdigest()[:16]
        shard = file.rename(tmp_path / f"000000-{digest}.parquet")
        with pytest.raises(ValueError, match=f"{shard.name}: {message}"):
            list(Store(tmp_path).rows())
        shard.unlink()


def test_a_shard_that_was_not_finished_is_not_a_shard(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    (tmp_path / ".next.tmp").write_bytes(b"half a shard")
    assert list(store.rows()) == [row("a")]
    store.append([row("b")])
    assert not (tmp_path / ".next.tmp").exists()
