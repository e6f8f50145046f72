"""Judge how a run ended: right, with one clear line, or wrong."""

import json
import re
from hashlib import md5
from pathlib import Path
from typing import Any

from stages.lib.core.files import file_sha256
from stages.lib.core.paths import ANSWERS, SAMPLES, TABLES, TIMINGS, TRAINING_LOGS
from tests.mini import TIMED, locked, tables
from tests.pipeline import SCRIPTS

# These are written while a stage works: shards are checked by their own names.
IN_PROGRESS = (f"{SAMPLES}/", f"{ANSWERS}/", f"{TRAINING_LOGS}/")
LONGEST_STAGE_S = 1_800

# The last line of a stage, and the lines of DVC about it or itself.
_STAGE_LINE = re.compile(rf"^({'|'.join(SCRIPTS)})[\w-]*: (?!.*\d+%\|)")
_DVC = re.compile(r"^ERROR: ")
_NO_REASON = re.compile(r"exited with \d+$")


def clear_line(output: str) -> str:
    """Return the line that tells a reader why a run stopped, or nothing if none does.

    A traceback is not a line. DVC's ``failed to reproduce 'x': failed to run: ..., exited with
    1`` counts with a line of the stage's own before it; that a signal ended a stage
    (``exited with -9``), or an error of DVC's own, is clear by itself.
    """
    if "Traceback (most recent call last)" in output:
        return ""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    errors = [line for line in lines if _DVC.match(line)]
    telling = [line for line in errors if not _NO_REASON.search(line)]
    from_stage = [line for line in lines if _STAGE_LINE.match(line)]
    return next(iter([*telling[-1:], *(from_stage[-1:] if errors else [])]), "")


def contents(repository: Path, outs: list[str]) -> dict[str, str]:
    """Return the MD5 of every file of these outputs that is there."""
    files = [
        file
        for out in outs
        for file in [repository / out, *sorted((repository / out).rglob("*"))]
        if file.is_file()
    ]
    return {
        str(file.relative_to(repository)): md5(file.read_bytes()).hexdigest()
        for file in files
        if not str(file.relative_to(repository)).startswith(TIMED)
    }


def half_written(repository: Path, full: Path, outs: list[str], ignore: str) -> str:
    """Return the first file, other than ``ignore``, that differs from a full run, or nothing."""
    expected = contents(full, outs)
    for name, md5_sum in contents(repository, outs).items():
        if not name.startswith(IN_PROGRESS) and expected.get(name) != md5_sum and name != ignore:
            return name
    for folder in (SAMPLES, ANSWERS):
        for shard in sorted((repository / folder).rglob("*.parquet")):
            name = str(shard.relative_to(repository))
            if name != ignore and file_sha256(shard)[:16] not in name:
                return name
    return _broken_report(repository)


def differing(repository: Path, full: Path, outs: list[str]) -> list[str]:
    """Return the outputs without times that differ from a full run."""
    actual, expected = contents(repository, outs), contents(full, outs)
    names = sorted(actual.keys() | expected.keys())
    different = [name for name in names if actual.get(name) != expected.get(name)]
    different += [out for out in outs if not (repository / out).exists()]
    if _locked(repository) != _locked(full):
        different.append("dvc.lock")
    if (repository / TABLES).exists() and tables(repository) != tables(full):
        different.append(str(TABLES))
    return different + [name for name in [_broken_report(repository)] if name]


def _locked(repository: Path) -> dict[str, Any]:
    return {
        name: [out for out in stage["outs"] if not out["path"].startswith(TIMED)]
        for name, stage in locked(repository).items()
    }


def _broken_report(repository: Path) -> str:
    """Return the first report with times that is incomplete or has an impossible value."""
    for path in sorted((repository / TIMINGS).glob("*.json")):
        seconds = json.loads(path.read_text(encoding="utf-8"))["seconds"]
        if not 0 < seconds < LONGEST_STAGE_S:
            return f"{path.relative_to(repository)}: {seconds} s"
    ends = {"paper.pdf": b"%%EOF", "index.html": b"</html>"}
    for name, end in ends.items():
        path = repository / "reports" / name
        if path.exists() and not path.read_bytes().rstrip().endswith(end):
            return name
    return ""
