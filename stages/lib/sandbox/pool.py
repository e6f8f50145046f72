"""Run Python programs that a model wrote, each in a confined fork of a warm worker.

A worker (``stages.lib.sandbox.worker``) is a separate interpreter with an empty
environment. This module is the caller's side: it starts workers, gives them programs, and
replaces a worker that is lost.
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

from stages.lib.sandbox.confinement import LAYERS
from stages.lib.sandbox.worker import CHECK, START_S, ProgramResult, WorkerConfig

PROGRAM_CHARACTERS = 100_000

# Programs with these names run where numpy and sympy are already imported.
_LIBRARIES = re.compile(r"\b(?:numpy|sympy|scipy|pandas)\b")
_STOP_S, _GRACE_S = 5.0, 10.0
_IDLE = -1
# The whole environment of a worker. The seed fixes the order in which sets print.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_START_WORKER = (
    "import sys; sys.path.append(sys.argv[1]); from stages.lib.sandbox.worker import serve; "
    "sys.path.pop(); serve(sys.argv[2])"
)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Connection
    index: int = _IDLE  # of the program that it is running
    deadline: float = math.inf


def run_programs(
    programs: Sequence[str],
    *,
    timeout_s: float,
    memory_mb: int,
    workers: int,
    allow_unprotected: bool = False,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[ProgramResult]:
    """Run each program in a fork of its own, and return the results in order.

    ``memory_mb`` (MiB) is what one program may map beyond the warm interpreter. ``on_progress`` is
    called with the number of programs that just finished. Warns once of the layers that this
    machine lacks. Raises OSError if all layers are missing and ``allow_unprotected`` is false, or
    if a worker does not start, and ValueError for a limit that is not positive.
    """
    for name, value in (("timeout_s", timeout_s), ("memory_mb", memory_mb), ("workers", workers)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value}: expected a positive number")
    results = {i: result for i, text in enumerate(programs) if (result := _refuse(text))}
    on_progress(len(results))
    for libraries in (False, True):
        pending = deque(
            i
            for i, text in enumerate(programs)
            if i not in results and bool(_LIBRARIES.search(text)) == libraries
        )
        with TemporaryDirectory(prefix="programs-") as folder:
            config = WorkerConfig(folder, libraries, timeout_s, memory_mb)
            crew: list[_Worker] = []
            try:
                # All start at once, then each is waited for.
                crew += [_start(config) for _ in range(min(workers, len(pending)))]
                for worker in crew:
                    _await_start(worker, allow_unprotected)
                for index, result in _run_pending(crew, programs, pending, config):
                    results[index] = result
                    on_progress(1)
            finally:
                for worker in crew:
                    _stop(worker)
    return [results[i] for i in range(len(programs))]


def _refuse(text: str) -> ProgramResult | None:
    """Return the result of a text that no worker can run, None for any other."""
    if len(text) > PROGRAM_CHARACTERS:
        error = f"a text of {len(text)} characters: expected at most {PROGRAM_CHARACTERS}"
        return ProgramResult("refused", "", error, 0.0)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ProgramResult("refused", "", str(error), 0.0)
    return None


def _start(config: WorkerConfig) -> _Worker:
    caller_end, worker_end = socket.socketpair()
    repository = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-s", "-P", "-X", "utf8", "-c", _START_WORKER]
    with worker_end:
        process = subprocess.Popen(
            [*command, str(repository), json.dumps(asdict(config))],
            stdin=worker_end.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd=config.folder,
            start_new_session=True,
        )
    return _Worker(process, Connection(caller_end.detach()))


def _await_start(worker: _Worker, allow_unprotected: bool) -> None:
    """Wait until a worker is ready; check that it works and which layers confine it."""
    try:
        if not worker.channel.poll(START_S):
            raise OSError(f"a program worker did not start within {START_S} s")
        layers, status, stdout, error = json.loads(worker.channel.recv_bytes())
    except (EOFError, ConnectionResetError) as end:
        _, stderr = worker.process.communicate()
        raise OSError(f"a program worker did not start: {stderr.decode()}") from end
    if (status, stdout) != ("ok", "42\n"):
        raise OSError(f"a program worker failed at {CHECK}: {status} {error}")
    if not layers and not allow_unprotected:
        raise OSError(
            "model-written programs cannot be confined: this machine offers none of "
            f"{', '.join(LAYERS)}; sandbox.allow_unprotected runs them anyway"
        )
    _warn_of_missing(tuple(layer for layer in LAYERS if layer not in layers))


@cache
def _warn_of_missing(layers: tuple[str, ...]) -> None:
    if layers:
        message = f"programs run without {', '.join(layers)}: missing on this machine"
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _stop(worker: _Worker) -> None:
    worker.channel.close()
    try:
        worker.process.communicate(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.communicate()


def _run_pending(
    crew: list[_Worker], programs: Sequence[str], pending: deque[int], config: WorkerConfig
) -> Iterator[tuple[int, ProgramResult]]:
    """Yield the index and the result of each pending program as it ends.

    A program whose worker is lost gets a second chance in a new worker.
    """
    lost: set[int] = set()
    while pending or any(worker.index != _IDLE for worker in crew):
        for worker in crew:
            if worker.index == _IDLE and pending:
                _send(worker, pending.popleft(), programs, config.timeout_s)
        busy = [worker for worker in crew if worker.index != _IDLE]
        ready = wait([worker.channel for worker in busy], timeout=1.0)
        for worker in busy:
            # Workers enforce the time limit; an overdue worker has hung.
            late = time.monotonic() > worker.deadline
            if worker.channel not in ready and not late:
                continue
            index, worker.index = worker.index, _IDLE
            result = None if late else _receive(worker)
            if result is None:
                crew.remove(worker)
                worker.process.kill()
                _stop(worker)
                crew.append(_start(config))
                _await_start(crew[-1], allow_unprotected=True)
                if index not in lost:
                    lost.add(index)
                    pending.appendleft(index)
                    continue
                result = ProgramResult("crashed", "", "its worker was lost, twice", 0.0)
            yield index, result


def _send(worker: _Worker, index: int, programs: Sequence[str], timeout_s: float) -> None:
    worker.index, worker.deadline = index, time.monotonic() + timeout_s + _GRACE_S
    with suppress(ConnectionError):  # a dead worker is noticed when its result is read
        worker.channel.send_bytes(programs[index].encode())


def _receive(worker: _Worker) -> ProgramResult | None:
    try:
        return ProgramResult(*json.loads(worker.channel.recv_bytes()))
    except (EOFError, ConnectionResetError):
        return None
