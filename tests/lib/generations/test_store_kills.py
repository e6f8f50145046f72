"""A run that is killed a hundred times ends as one that was not.

Each life is a fork that takes the run up, as ``generation.fill`` does, and says what it
does, a byte at a time. It is killed at a random moment: in an append, between two, or in
compacting.
"""

import os
import signal
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np

from stages.lib.core.schema import Generation
from stages.lib.generations.store import Store, key

ROWS, BATCH, KILLS = 20_000, 400, 100
COMPACTING, FINISHED = 254, 255  # what a life says beside the numbers of batches on disk


def made(number: int) -> Generation:
    digest = sha256(str(number).encode()).hexdigest()
    return Generation(
        problem_id=digest[:16],
        model="m",
        prompting="cot",
        shots=4,
        index=0,
        text=digest * 2,
        finish_reason="stop",
        n_tokens=3,
        prompt_sha=digest[16:32],
    )


ALL = [made(number) for number in range(ROWS)]
WANTED = [key(row) for row in ALL]
STARTS = range(0, ROWS, BATCH)


def live(folder: Path, speaks: int) -> None:
    """Say which batches are missing, by a byte each; make them, compact, and say so."""
    store = Store(folder)
    missing = store.missing(WANTED)
    left = [not missing.isdisjoint(WANTED[start : start + BATCH]) for start in STARTS]
    os.write(speaks, bytes(left))
    for number in np.flatnonzero(left).tolist():
        store.append(ALL[STARTS[number] : STARTS[number] + BATCH])
        os.write(speaks, bytes([number]))
    os.write(speaks, bytes([COMPACTING]))
    store.compact(WANTED)
    os.write(speaks, bytes([FINISHED]))


class Life:
    """A process that runs ``live``, and what it said."""

    def __init__(self, folder: Path) -> None:
        self._hears, speaks = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                live(folder, speaks)
            finally:
                os._exit(0)
        os.close(speaks)
        self.missing = self._hear(len(STARTS))
        assert len(self.missing) == len(STARTS), "it ended before it knew what is missing"
        self.said = b""

    def listen(self, words: int) -> None:
        """Wait for so many further words, until it compacts or ends."""
        for _ in range(words):
            word = self._hear(1)
            self.said += word
            if not word or word[0] >= COMPACTING:
                return

    def kill(self) -> bool:
        """Kill it, hear what it had said, and return whether it was still alive."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.said += self._hear(1_000)
        os.close(self._hears)
        return os.WIFSIGNALED(status)

    def _hear(self, words: int) -> bytes:
        heard = b""
        while len(heard) < words and (more := os.read(self._hears, words - len(heard))):
            heard += more
        return heard


def undisturbed(folder: Path) -> tuple[float, float]:
    """Let a run end by itself; return the seconds of an append and those of compacting."""
    life, started = Life(folder), time.monotonic()
    life.listen(ROWS)
    appended = time.monotonic()
    life.listen(1)
    compacted = time.monotonic()
    life.kill()
    assert life.said == bytes([*range(len(STARTS)), COMPACTING, FINISHED])
    return (appended - started) / len(STARTS), compacted - appended


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_hundred_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    of_append, of_compact = undisturbed(tmp_path / "undisturbed")
    folder, rng = tmp_path / "killed", np.random.default_rng(0)
    acknowledged: set[int] = set()
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        life = Life(folder)
        lost = {number for number in acknowledged if life.missing[number]}
        assert not lost, f"after {killed}"
        life.listen(int(rng.integers(0, 2)))
        compacting = COMPACTING in life.said or not any(life.missing)
        time.sleep(rng.uniform(0, 0.5 * of_compact if compacting else 1.2 * of_append))
        if life.kill():
            killed["compacting" if COMPACTING in life.said else "appending"] += 1
        acknowledged |= {word for word in life.said if word < COMPACTING}
    assert set(killed) == {"appending", "compacting"}
    live(folder, os.open(os.devnull, os.O_WRONLY))
    assert list(Store(folder).rows()) == ALL
    assert names(folder) == names(tmp_path / "undisturbed")
