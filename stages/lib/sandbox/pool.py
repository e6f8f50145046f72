"""Runs Python programs that a model wrote, each in a sandboxed fork of a warm worker.

A worker (``stages.lib.sandbox.worker``) is a separate interpreter with an empty
environment and with numpy and sympy loaded. Here is the caller's side: starting workers,
dealing programs to them, and surviving the loss of one.
"""

import json
import math
import re
import socket
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.lib.sandbox import confinement
from stages.lib.sandbox.worker import CHECK, START_S, ProgramResult, WorkerConfig

PROGRAM_CHARACTERS = 100_000

_LIBRARIES = re.compile(r"\b(?:numpy|sympy)\b")
_STOP_S, _GRACE_S = 5.0, 10.0
_IDLE = -1
# All that a worker gets. The seed makes the order in which sets print reproducible.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"} | {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")
}
_START_WORKER = (
    "import sys; sys.path.append(sys.argv[1]); from stages.lib.sandbox.worker import serve; "
    "sys.path.pop(); serve(sys.argv[2])"
)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Connection
    index: int = _IDLE  # of the program that it runs now
    deadline: float = math.inf


def run_programs(
    programs: Sequence[str],
    *,
    timeout_s: float,
    memory_mb: int,
    workers: int,
    allow_unprotected: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> list[ProgramResult]:
    """Run each program by itself and return the results in the order given.

    ``memory_mb`` (MiB) is what one program may map beyond the warm interpreter.
    ``progress`` is called with the number of programs just done. A layer
    that this machine lacks is warned of once. Raises OSError if all layers
    are missing and ``allow_unprotected`` is false, or if no worker starts, and
    ValueError for limits that are not positive.
    """
    for name, value in (("timeout_s", timeout_s), ("memory_mb", memory_mb), ("workers", workers)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value}: expected a positive number")
    results = {i: unfit for i, text in enumerate(programs) if (unfit := _unfit(text))}
    progress(len(results))
    for libraries in (False, True):
        pending = deque(
            i
            for i, text in enumerate(programs)
            if i not in results and bool(_LIBRARIES.search(text)) == libraries
        )
        with TemporaryDirectory(prefix="programs-") as folder:
            settings = WorkerConfig(folder, libraries, timeout_s, memory_mb)
            crew: list[_Worker] = []
            try:
                crew += [_start(settings) for _ in range(min(workers, len(pending)))]
                for worker in crew:
                    _greet(worker, allow_unprotected)
                for index, result in _work_off(crew, programs, pending, settings):
                    results[index] = result
                    progress(1)
            finally:
                for worker in crew:
                    _stop(worker)
    return [results[i] for i in range(len(programs))]


def _unfit(text: str) -> ProgramResult | None:
    if len(text) > PROGRAM_CHARACTERS:
        why = f"a text of {len(text)} characters: expected at most {PROGRAM_CHARACTERS}"
        return ProgramResult("refused", "", why, 0.0)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ProgramResult("refused", "", str(error), 0.0)
    return None


def _start(settings: WorkerConfig) -> _Worker:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-s", "-P", "-X", "utf8", "-c", _START_WORKER]
    with theirs:
        process = subprocess.Popen(
            [*command, str(Path(__file__).resolve().parents[3]), json.dumps(asdict(settings))],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd=settings.folder,
            start_new_session=True,
        )
    return _Worker(process, Connection(ours.detach()))


def _greet(worker: _Worker, allow_unprotected: bool) -> None:
    """Wait until the worker is warm; check that it works and what protects it."""
    try:
        if not worker.channel.poll(START_S):
            raise OSError(f"a program worker did not start within {START_S} s")
        layers, status, stdout, error = json.loads(worker.channel.recv_bytes())
    except (EOFError, ConnectionResetError) as end:
        _, complaint = worker.process.communicate()
        raise OSError(f"a program worker did not start: {complaint.decode()}") from end
    if (status, stdout) != ("ok", "42\n"):
        raise OSError(f"a program worker failed at {CHECK}: {status} {error}")
    if not layers and not allow_unprotected:
        raise OSError(
            "model-written programs cannot be confined: this machine offers none of "
            f"{', '.join(confinement.LAYERS)}; allow_unprotected accepts that"
        )
    _warn_of(tuple(layer for layer in confinement.LAYERS if layer not in layers))


@cache
def _warn_of(missing: tuple[str, ...]) -> None:
    if missing:
        what = ", ".join(missing)
        warnings.warn(f"programs run without {what}, missing here", RuntimeWarning, stacklevel=4)


def _stop(worker: _Worker) -> None:
    worker.channel.close()
    try:
        worker.process.communicate(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.communicate()


def _work_off(
    crew: list[_Worker], programs: Sequence[str], pending: deque[int], settings: WorkerConfig
) -> Iterator[tuple[int, ProgramResult]]:
    """Yield the index and the result of each pending program as it ends.

    A program whose worker is lost gets a second chance in a new one.
    """
    lost: set[int] = set()
    while pending or any(worker.index != _IDLE for worker in crew):
        for worker in crew:
            if worker.index == _IDLE and pending:
                _give(worker, pending.popleft(), programs, settings.timeout_s)
        busy = [worker for worker in crew if worker.index != _IDLE]
        ready = wait([worker.channel for worker in busy], timeout=1.0)
        for worker in busy:
            late = time.monotonic() > worker.deadline
            if worker.channel not in ready and not late:
                continue
            index, worker.index = worker.index, _IDLE
            result = None if late else _take(worker)
            if result is None:
                crew.remove(worker)
                worker.process.kill()
                _stop(worker)
                crew.append(_start(settings))
                _greet(crew[-1], allow_unprotected=True)
                if index not in lost:
                    lost.add(index)
                    pending.appendleft(index)
                    continue
                result = ProgramResult("crashed", "", "its worker was lost, twice", 0.0)
            yield index, result


def _give(worker: _Worker, index: int, programs: Sequence[str], timeout_s: float) -> None:
    worker.index, worker.deadline = index, time.monotonic() + timeout_s + _GRACE_S
    with suppress(ConnectionError):  # a dead worker shows when its answer is awaited
        worker.channel.send_bytes(programs[index].encode())


def _take(worker: _Worker) -> ProgramResult | None:
    try:
        return ProgramResult(*json.loads(worker.channel.recv_bytes()))
    except (EOFError, ConnectionResetError):
        return None
