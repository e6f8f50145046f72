"""Seconds to keep a million generations: append them in batches, compact, read each one back.

Both sides append batches of ``engine.batch_size``, each on disk before the next, as a run
does. The peer appends JSON lines to one file and reads them with ``json``, as short scripts
do; it neither compacts nor knows a damaged byte, sees a tenth of the rows, and its time is
scaled. Rows are made by seed, batch by batch, and compared with those that come back: neither
is timed. ``resume_s`` is what it takes to find the missing ones among a million rows, in the
shards of the appends and after compacting; ``peak_gib`` the memory of the whole process, with
the keys that a run holds.

    python -m benchmarks.store
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import numpy as np

from benchmarks.report import line, measured
from stages.lib.core.paths import DATA
from stages.lib.core.schema import Generation
from stages.lib.generations.store import Store, key
from stages.lib.params.load import load_params

ROWS, PEER_ROWS, MISSING = 1_000_000, 100_000, 1_000
ALLOWED = {"seconds": 60, "peak_gib": 1.5, "resume_s": 5}
SEED = 1

Returned = TypeVar("Returned")


class Keeper(Protocol):
    """What keeps rows."""

    def append(self, rows: Sequence[Generation]) -> None:
        """Add rows; when this returns, they are on disk."""
        ...

    def rows(self) -> Iterator[Generation]:
        """Yield each row."""
        ...


class JsonLines:
    """Rows as lines of one file."""

    def __init__(self, path: Path) -> None:
        """Keep them at ``path``."""
        self.path = path

    def append(self, rows: Sequence[Generation]) -> None:
        """Add rows; when this returns, they are on disk."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
            stream.flush()
            os.fsync(stream.fileno())

    def rows(self) -> Iterator[Generation]:
        """Yield each row."""
        with self.path.open(encoding="utf-8") as lines:
            for one in lines:
                yield Generation(**json.loads(one))


class Clock:
    """Seconds spent in the calls that it makes."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.seconds = 0.0

    def __call__(self, work: Callable[..., Returned], *arguments: Any) -> Returned:
        """Return what ``work`` returns."""
        started = time.perf_counter()
        returned = work(*arguments)
        self.seconds += time.perf_counter() - started
        return returned


def made(rows: int, batch_size: int) -> Iterator[list[Generation]]:
    """Yield batches of rows: four samples of each problem, texts of about 300 characters.

    Words are drawn by Zipf's law, so that texts compress about as those of a model do.
    """
    rng = np.random.default_rng(SEED)
    alphabet = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(alphabet, rng.integers(2, 9))) for _ in range(2_000)]
    for start in range(0, rows, batch_size):
        numbers = range(start, min(start + batch_size, rows))
        drawn = (rng.zipf(1.3, (len(numbers), 54)) % len(words)).tolist()
        yield [
            _row(number, " ".join([words[word] for word in text]), rows)
            for number, text in zip(numbers, drawn, strict=True)
        ]


def _row(number: int, text: str, rows: int) -> Generation:
    index, problem = divmod(number, rows // 4)
    digest = sha256(str(problem).encode()).hexdigest()
    return Generation(
        problem_id=digest[:16],
        model="8a1f0c2b9d3e4f57",
        prompting="cot",
        shots=4,
        index=index,
        text=text,
        finish_reason="stop",
        n_tokens=len(text) // 3,
        prompt_sha=digest[16:32],
    )


def write(keeper: Keeper, batches: Iterable[list[Generation]]) -> float:
    """Append the batches; return the seconds."""
    clock = Clock()
    for batch in batches:
        clock(keeper.append, batch)
    return clock.seconds


def read(keeper: Keeper, batches: Iterable[list[Generation]]) -> float:
    """Read all rows; return the seconds. Raises ValueError unless they are those of the batches."""
    clock, rows = Clock(), keeper.rows()
    for batch in batches:
        if clock(list, islice(rows, len(batch))) != batch:
            raise ValueError(f"{type(keeper).__name__}: it gave other rows than it was given")
    if clock(list, rows):
        raise ValueError(f"{type(keeper).__name__}: it gave more rows than it was given")
    return clock.seconds


def ours(folder: Path, batch_size: int) -> dict[str, float]:
    """Keep them in a store, and look for more than it has."""
    store = Store(folder)
    found = {"write_s": write(store, made(ROWS, batch_size))}
    found["shards"] = len(list(folder.iterdir()))
    wanted = [key(row) for batch in made(ROWS, batch_size) for row in batch]
    more = [(one, *rest[:-1], "another") for one, *rest in wanted[:MISSING]]
    found["resume_s"] = resume(folder, [*wanted, *more], more)
    clock = Clock()
    clock(store.compact, wanted)
    found["compact_s"] = clock.seconds
    found["resume_compacted_s"] = resume(folder, [*wanted, *more], more)
    found["read_s"] = read(store, made(ROWS, batch_size))
    return found


def resume(folder: Path, wanted: Sequence[Any], expected: Sequence[Any]) -> float:
    """Find what is missing; return the seconds. Raises ValueError if it is not the expected."""
    clock = Clock()
    if clock(Store(folder).missing, wanted) != set(expected):
        raise ValueError("Store.missing: expected those that were not appended, found others")
    return clock.seconds


def peer(folder: Path, batch_size: int) -> dict[str, float]:
    """Keep a share of them as JSON lines."""
    keeper = JsonLines(folder / "rows.jsonl")
    scale = ROWS / PEER_ROWS
    return {
        "write_s": scale * write(keeper, made(PEER_ROWS, batch_size)),
        "read_s": scale * read(keeper, made(PEER_ROWS, batch_size)),
    }


def side(name: str) -> dict[str, float]:
    """Run one side in an empty folder on the disk that runs write to."""
    batch_size = load_params().engine.batch_size
    DATA.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=DATA) as folder:
        found = {"ours": ours, "peer": peer}[name](Path(folder), batch_size)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found | {"peak_gib": kib / 2**20}


def main() -> None:
    """Measure both sides."""
    if len(sys.argv) > 1:
        print(json.dumps(side(sys.argv[1])))
        return
    first, second = (measured("benchmarks.store", name) for name in ("ours", "peer"))
    print(
        line(
            "store",
            ours=first["write_s"] + first["compact_s"] + first["read_s"],
            peer=second["write_s"] + second["read_s"],
            unit="s",
            against="JSON lines, synced by batch",
            better="less",
            rows=ROWS,
            allowed=ALLOWED,
            of_ours={name: round(value, 2) for name, value in first.items()},
            of_peer={name: round(value, 2) for name, value in second.items()},
        )
    )


if __name__ == "__main__":
    main()
