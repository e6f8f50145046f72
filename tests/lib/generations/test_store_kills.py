"""A run that is killed many times ends with the same bytes as one that was not.

Each life is a fork that resumes the run, as ``generate_missing`` does, and reports what it
does, a byte at a time. It is killed at a random moment: in an append, between two, or in
compacting.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: F401 (pyarrow imports it on first use, which would slow every fork)

from stages.lib.core.schema import Generation
from stages.lib.generations.store import Store, key
from tests.rows import make_generation

ROWS, BATCH, KILLS = 3_000, 150, 30
COMPACTING, FINISHED = 254, 255  # reported beside the numbers of the batches on disk


def generation(number: int) -> Generation:
    digest = sha256(str(number).encode()).hexdigest()
    return make_generation(digest[:16], "cot", text=digest * 2, prompt_sha=digest[16:32])


ALL = [generation(number) for number in range(ROWS)]
KEYS = [key(row) for row in ALL]
STARTS = range(0, ROWS, BATCH)


def live(folder: Path, pipe: int) -> None:
    """Report which batches are missing, a byte each; append them, compact, and report both."""
    store = Store(folder)
    missing = store.missing(KEYS)
    is_missing = [not missing.isdisjoint(KEYS[start : start + BATCH]) for start in STARTS]
    os.write(pipe, bytes(is_missing))
    for number in np.flatnonzero(is_missing).tolist():
        store.append(ALL[STARTS[number] : STARTS[number] + BATCH])
        os.write(pipe, bytes([number]))
    os.write(pipe, bytes([COMPACTING]))
    store.compact(KEYS)
    os.write(pipe, bytes([FINISHED]))


class Life:
    """A process that runs ``live``, and its report."""

    def __init__(self, folder: Path) -> None:
        self._pipe, end = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                live(folder, end)
            finally:
                os._exit(0)
        os.close(end)
        self.missing = self._read(len(STARTS))
        assert len(self.missing) == len(STARTS), "it ended before its report on what is missing"
        self.report = b""

    def wait(self, count: int) -> None:
        """Wait for so many further bytes of the report, or until it compacts or ends."""
        for _ in range(count):
            byte = self._read(1)
            self.report += byte
            if not byte or byte[0] >= COMPACTING:
                return

    def kill(self) -> bool:
        """Kill it, read the rest of its report, and return whether it was still alive."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.report += self._read(1_000)
        os.close(self._pipe)
        return os.WIFSIGNALED(status)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (part := os.read(self._pipe, count - len(data))):
            data += part
        return data


def undisturbed(folder: Path) -> tuple[float, float]:
    """Let a run end by itself; return the seconds of an append and of compacting."""
    life, started = Life(folder), time.monotonic()
    life.wait(ROWS)
    appended = time.monotonic()
    life.wait(1)
    compacted = time.monotonic()
    life.kill()
    assert life.report == bytes([*range(len(STARTS)), COMPACTING, FINISHED])
    return (appended - started) / len(STARTS), compacted - appended


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    # In a small process: a fork of this one, with all that the tests have loaded, is slow.
    command = [sys.executable, "-m", __name__, str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])


def main(tmp_path: Path) -> None:
    of_append, of_compact = undisturbed(tmp_path / "undisturbed")
    folder, rng = tmp_path / "killed", np.random.default_rng(0)
    acknowledged: set[int] = set()
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        life = Life(folder)
        lost = {number for number in acknowledged if life.missing[number]}
        assert not lost, f"after {killed}"
        life.wait(int(rng.integers(0, 2)))
        compacting = COMPACTING in life.report or not any(life.missing)
        time.sleep(rng.uniform(0, 0.5 * of_compact if compacting else 1.2 * of_append))
        if life.kill():
            killed["compacting" if COMPACTING in life.report else "appending"] += 1
        acknowledged |= {byte for byte in life.report if byte < COMPACTING}
    assert set(killed) == {"appending", "compacting"}
    live(folder, os.open(os.devnull, os.O_WRONLY))
    assert list(Store(folder).rows()) == ALL
    assert names(folder) == names(tmp_path / "undisturbed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
