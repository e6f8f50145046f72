"""The store loses nothing, doubles nothing, and knows a damaged shard."""

from pathlib import Path

import pytest

from stages.lib.records import Generation
from stages.lib.store import Store, key


def row(problem: str, index: int = 0, text: str = "two") -> Generation:
    return Generation(
        problem_id=problem,
        model="m",
        prompting="cot",
        shots=4,
        index=index,
        text=text,
        finish_reason="stop",
        n_tokens=3,
        prompt_sha="p",
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_empty_store_has_no_keys(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").keys() == set()


def test_rows_come_back_over_several_shards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a"), row("b")])
    store.append([row("c")])
    assert list(Store(tmp_path).rows()) == [row("a"), row("b"), row("c")]
    assert Store(tmp_path).keys() == {key(row("a")), key(row("b")), key(row("c"))}


def test_a_row_that_stands_twice_is_read_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    store.append([row("a"), row("b")])
    assert list(store.rows()) == [row("a"), row("b")]


def test_compacting_forgets_how_the_rows_came(tmp_path: Path) -> None:
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    whole.append([row("a"), row("b"), row("c")])
    parts.append([row("c"), row("unwanted")])
    parts.append([row("b")])
    parts.append([row("a")])
    for store in (whole, parts):
        store.compact([key(row(problem)) for problem in "abc"])
    assert names(whole.folder) == names(parts.folder)
    assert list(parts.rows()) == [row("a"), row("b"), row("c")]


def test_compacting_twice_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    store.compact([key(row("a"))])
    before = names(tmp_path)
    store.compact([key(row("a"))])
    assert names(tmp_path) == before


def test_compacting_refuses_to_drop_what_it_has_not_got(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    with pytest.raises(ValueError, match="1 of 2 generations are missing"):
        store.compact([key(row("a")), key(row("b"))])
    assert list(store.rows()) == [row("a")]


def test_a_flipped_byte_is_found_and_named(tmp_path: Path) -> None:
    Store(tmp_path).append([row("a")])
    shard = next(tmp_path.glob("*.parquet"))
    damaged = bytearray(shard.read_bytes())
    damaged[40] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{shard.name}: damaged"):
        Store(tmp_path).keys()


def test_a_shard_that_was_not_finished_is_not_a_shard(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append([row("a")])
    (tmp_path / ".next.tmp").write_bytes(b"half a shard")
    assert list(store.rows()) == [row("a")]
    store.append([row("b")])
    assert not (tmp_path / ".next.tmp").exists()
