"""Files and folders are written whole or not at all."""

from pathlib import Path

import pytest

from stages.lib.core.files import atomic_replace, read_json, write_json


def test_a_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_replace(path) as tmp:
        tmp.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_is_replaced_with_all_that_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    with atomic_replace(path) as tmp:
        tmp.mkdir()
        (tmp / "new").touch()
    assert [child.name for child in path.iterdir()] == ["new"]


@pytest.mark.parametrize("make", [lambda tmp: tmp.write_text("half"), Path.mkdir])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, make: object) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_replace(path) as tmp:
        make(tmp)  # type: ignore[operator]
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]


def test_json_comes_back_and_its_bytes_do_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "ü"]})
    write_json(tmp_path / "b.json", {"a": [1.5, "ü"], "b": 1})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, "ü"], "b": 1}
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="a.json: not JSON"):
        read_json(tmp_path / "a.json")
