"""A stage ends in one line, and its libraries' output in a file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.lib.runtime import console

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a function as a stage in an empty folder: to its status and error text."""
    monkeypatch.chdir(tmp_path)

    def run_stage(
        work: Callable[..., object], *arguments: str, item: str | None = None
    ) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["stage", *arguments])
        status = 0
        try:
            console.run_stage("try", work, item=item)  # type: ignore[arg-type]
        except SystemExit as end:
            status = int(end.code or 0)
        out, error = capfd.readouterr()
        assert not out
        return status, error

    return run_stage


def write_from_everywhere() -> None:
    os.write(1, b"from C++\n")
    console.log_line("the last word")


def test_the_terminal_gets_log_lines_and_the_log_the_rest(run: Run) -> None:
    assert run(write_from_everywhere) == (0, "the last word\n")
    assert "from C++\n" in Path("logs/try.log").read_text()
    timing = json.loads(Path("reports/timings/try.json").read_text())
    assert timing["seconds"] >= 0
    assert timing["peak_mib"] > 10


def refuse(arm: str) -> None:
    raise ValueError(f"weigh.arms: {arm!r}:\nexpected another")


def fill_the_disk() -> None:
    raise OSError(28, "No space left on device", "data/x.parquet")


def test_a_users_mistake_is_one_line(run: Run) -> None:
    expected = "try-hard: weigh.arms: 'hard': expected another\n"
    assert run(refuse, "hard", item="arm") == (1, expected)
    assert not Path("reports").exists()


def test_an_error_of_a_file_is_one_line(run: Run) -> None:
    expected = "try: [Errno 28] No space left on device: 'data/x.parquet'\n"
    assert run(fill_the_disk) == (1, expected)


@pytest.mark.parametrize("blocked", ["logs", "logs/try.log", "reports/timings"])
def test_what_cannot_be_written_is_one_line(blocked: str, run: Run) -> None:
    # No folder can be where a file is, and the reverse: like a disk that refuses, even to root.
    path = Path(blocked)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if path.suffix else path.touch()
    status, error = run(lambda: None)
    assert status == 1
    assert error.startswith("try: [Errno ")
    assert error.count("\n") == 1


def test_a_bug_names_its_log(run: Run) -> None:
    expected = "try: ZeroDivisionError: division by zero; see logs/try.log\n"
    assert run(lambda: 1 / 0) == (1, expected)
    assert "Traceback" in Path("logs/try.log").read_text()


def fail_and_lose_the_log() -> None:
    Path("logs/try.log").unlink()
    Path("logs").rmdir()
    raise RuntimeError("I/O error: No space left on device")


def test_a_bug_is_one_line_even_if_its_log_cannot_be_written(run: Run) -> None:
    expected = "try: RuntimeError: I/O error: No space left on device; see logs/try.log\n"
    assert run(fail_and_lose_the_log) == (1, expected)


def test_a_full_disk_is_named_where_the_error_does_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    status, error = run(lambda: 1 / 0)
    assert status == 1
    assert error.startswith("try: the disk is full: ZeroDivisionError: division by zero; see ")


def test_an_interruption_is_one_line(run: Run) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run(interrupt) == (130, "try: interrupted\n")


def test_a_jump_of_the_wall_clock_makes_no_stage_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = console.seconds_since_start()
    monkeypatch.setattr("time.time", lambda: 4e9)
    monkeypatch.setattr("psutil.Process.create_time", lambda _: 0.0)
    assert 0 < before <= console.seconds_since_start() < before + 60


def test_a_stage_is_imported_without_a_warning() -> None:
    command = [sys.executable, "-c", "import stages.model"]
    imported = subprocess.run(command, capture_output=True, text=True, check=True)
    assert imported.stdout + imported.stderr == ""
