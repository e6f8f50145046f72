"""The command that shows the problems or conversations that files of a data set give."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.lib.formats.test_rows import GSM8K, SHAREGPT, messages
from tools.inspect_rows import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def counts(printed: str) -> dict[str, str]:
    lines = re.findall(r"^(.+?) {2,}(\S+)$", printed, flags=re.MULTILINE)
    return dict(lines)


def test_problems_with_their_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = GSM8K | {"question": "And 2 more?", "answer": "So 74.\n#### 74"}
    write(folder / "train.jsonl", GSM8K, other, other, GSM8K | {"answer": "Unknown."})
    main("gsm8k", "train.jsonl", exclude=[], target="problems")
    printed = capsys.readouterr().err
    assert counts(printed) == {
        "files": "1",
        "rows": "4",
        "problems": "2",
        "conversations": "0",
        "skipped: duplicate": "1",
        "skipped: no answer": "1",
        "answer: number": "2",
        "program: correct": "1",
        "problems with a program": "50.0%",
    }
    expected = (
        "answer: 72 (number)\n> 48 clips, then half as many. How many in all?\n"
        "Then 48/2 = 24.\nIn all 48+24 = 72.\nThe answer is 72.\n"
        "> 48 clips, then half as many. How many in all? Let's write a program.\n"
        "```python\nstep1 = 48 / 2\nstep2 = 48 + step1\nprint(step2)\n```\n\n"
        "answer: 74 (number)\n> And 2 more?\nSo 74.\nThe answer is 74.\n"
    )
    assert printed.endswith(expected)


def test_conversations_without_a_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "parts").mkdir()
    write(folder / "parts" / "a.jsonl", SHAREGPT, messages("human", "gpt"))
    write(folder / "parts" / "b.jsonl", SHAREGPT | {"source": "Other"}, messages("human"))
    main("sharegpt", "parts", exclude=["other"], target="conversations")
    printed = capsys.readouterr().err
    assert counts(printed) == {
        "files": "2",
        "rows": "4",
        "problems": "0",
        "conversations": "2",
        "skipped: source": "1",
        "skipped: turns out of order": "1",
        "turns: 1": "1",
        "turns: 2": "1",
    }
    assert "\nsystem: Be brief.\n> 2 + 2?\nThe answer is 4.\n> Twice that?\n" in printed
    assert "\nsystem: (that of the run)\n> Well, 4.\nWell, 4.\n" in printed


def test_a_mistake_is_one_line(folder: Path) -> None:
    write(folder / "rows.jsonl", SHAREGPT, {"question": "2 + 2?"})
    arguments = ["sharegpt", "rows.jsonl", "--exclude", "a", "b", "--target", "conversations"]
    result = subprocess.run(
        [sys.executable, "-m", "tools.inspect_rows", *arguments],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "inspect_rows-sharegpt-rows.jsonl-conversations: rows.jsonl: row 2: conversations: missing "
        "(format sharegpt)\n"
    )
