"""A stage ends in one line, and its libraries' chatter in a file."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.lib.runtime import console


def run(
    work: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *arguments: str,
    item: str | None = None,
) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])
    try:
        console.run_stage("try", work, item=item)  # type: ignore[arg-type]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def chatter() -> None:
    os.write(1, b"from C++\n")
    console.log_line("the last word")


def test_the_terminal_gets_what_is_said_and_the_log_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(chatter, monkeypatch, tmp_path) == 0
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "the last word\n")
    assert "from C++\n" in (tmp_path / "logs" / "try.log").read_text()


def test_time_and_memory_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(chatter, monkeypatch, tmp_path)
    noted = json.loads((tmp_path / "reports" / "timings" / "try.json").read_text())
    assert noted["seconds"] >= 0
    assert noted["peak_mib"] > 10


def refuse(arm: str) -> None:
    raise ValueError(f"weigh.arms: {arm!r}:\nexpected another")


def fill_the_disk() -> None:
    raise OSError(28, "No space left on device", "data/x.parquet")


def test_a_users_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(refuse, monkeypatch, tmp_path, "hard", item="arm") == 1
    assert capfd.readouterr().err == "try-hard: weigh.arms: 'hard': expected another\n"
    assert not (tmp_path / "reports").exists()


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(fill_the_disk, monkeypatch, tmp_path) == 1
    said = capfd.readouterr().err
    assert said == "try: [Errno 28] No space left on device: 'data/x.parquet'\n"


@pytest.mark.parametrize("taken", ["logs", "logs/try.log", "reports/timings"])
def test_what_cannot_be_written_is_one_line(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Where a file stands no folder can be, and the reverse: like a disk that refuses, even to root.
    path = tmp_path / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if path.suffix else path.touch()
    assert run(lambda: None, monkeypatch, tmp_path) == 1
    said = capfd.readouterr().err
    assert said.startswith("try: [Errno ")
    assert said.count("\n") == 1


def fail_and_lose_the_log() -> None:
    Path("logs/try.log").unlink()
    Path("logs").rmdir()
    raise RuntimeError("I/O error: No space left on device")


def test_a_bug_is_one_line_even_if_its_log_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(fail_and_lose_the_log, monkeypatch, tmp_path) == 1
    said = capfd.readouterr().err
    assert said == ("try: RuntimeError: I/O error: No space left on device; see logs/try.log\n")


def test_a_full_disk_is_named_where_the_error_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    assert run(lambda: 1 / 0, monkeypatch, tmp_path) == 1
    said = capfd.readouterr().err
    assert said.startswith("try: the disk is full: ZeroDivisionError: division by zero; see ")


def test_a_jump_of_the_wall_clock_makes_no_stage_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = console.seconds_since_start()
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("psutil.Process.create_time", lambda _: 0.0)
    assert 0 < before <= console.seconds_since_start() < before + 60


def test_a_bug_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: 1 / 0, monkeypatch, tmp_path) == 1
    said = capfd.readouterr().err
    assert said == "try: ZeroDivisionError: division by zero; see logs/try.log\n"
    assert "Traceback" in (tmp_path / "logs" / "try.log").read_text()
