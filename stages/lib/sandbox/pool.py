"""Run Python programs that a model wrote in confined forks of warm workers.

A worker (``stages.lib.sandbox.worker``) is a separate interpreter with an empty
environment. This module is the caller's side: it starts workers, gives them programs, and
replaces a worker that is lost.
"""

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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
# How many programs a worker gets at once: plain ones share a fork.
_BATCH = 16
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
    batch: list[int] = field(default_factory=list)  # the programs that it is running
    deadline: float = math.inf


def run_programs(
    programs: Sequence[str],
    *,
    timeout_s: float,
    memory_mb: int,
    workers: int | None,
    allow_unprotected: bool = False,
    on_progress: Callable[[int], object] = lambda _: None,
) -> list[ProgramResult]:
    """Run the programs, and return their results in order.

    ``memory_mb`` (MiB) is what one fork may map beyond the warm interpreter, ``workers`` how many
    programs run at a time: None stands for the cores of this process. ``on_progress`` is
    called with the number of programs that just finished. Warns once of the layers that this
    machine lacks. Raises OSError if all layers are missing and ``allow_unprotected`` is false, or
    if a worker does not start, and ValueError for a limit that is not positive.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    for name, value in (("timeout_s", timeout_s), ("memory_mb", memory_mb), ("workers", workers)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: {value}: expected a positive number")
    results = {i: result for i, text in enumerate(programs) if (result := _refuse(text))}
    on_progress(len(results))
    for libraries in (False, True):
        chosen = [
            i
            for i, text in enumerate(programs)
            if i not in results and bool(_LIBRARIES.search(text)) == libraries
        ]
        # No program that names a library is plain.
        pending = _batches(chosen, size=1 if libraries else _BATCH, workers=workers)
        with TemporaryDirectory(prefix="programs-") as folder:
            config = WorkerConfig(folder, libraries, timeout_s, memory_mb)
            crew: list[_Worker] = []
            try:
                # All start at once, then each is waited for.
                crew += [_start(config) for _ in range(min(workers, len(pending)))]
                for worker in crew:
                    _await_start(worker, allow_unprotected)
                for batch, batch_results in _run_pending(crew, programs, pending, config):
                    results |= zip(batch, batch_results, strict=True)
                    on_progress(len(batch))
            finally:
                for worker in crew:
                    _stop(worker)
    return [results[i] for i in range(len(programs))]


def _batches(indices: list[int], *, size: int, workers: int) -> deque[list[int]]:
    """Cut batches of at most ``size``, and at least one for each worker."""
    size = min(size, math.ceil(len(indices) / workers) or 1)
    return deque(indices[i : i + size] for i in range(0, len(indices), size))


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
    crew: list[_Worker], programs: Sequence[str], pending: deque[list[int]], config: WorkerConfig
) -> Iterator[tuple[list[int], list[ProgramResult]]]:
    """Yield each pending batch, as indices of programs, and their results as it ends.

    Programs whose worker is lost get a second chance, each by itself in a new worker.
    """
    lost: set[int] = set()
    while pending or any(worker.batch for worker in crew):
        for worker in crew:
            if pending and not worker.batch:
                _send(worker, pending.popleft(), programs, config.timeout_s)
        busy = [worker for worker in crew if worker.batch]
        ready = wait([worker.channel for worker in busy], timeout=1.0)
        for worker in busy:
            # Workers enforce the time limit; an overdue worker has hung.
            late = time.monotonic() > worker.deadline
            if worker.channel not in ready and not late:
                continue
            batch, worker.batch = worker.batch, []
            results = None if late else _receive(worker)
            if results is None:
                crew.remove(worker)
                worker.process.kill()
                _stop(worker)
                crew.append(_start(config))
                _await_start(crew[-1], allow_unprotected=True)
                if lost.isdisjoint(batch):
                    lost.update(batch)
                    pending.extendleft([index] for index in reversed(batch))
                    continue
                results = [ProgramResult("crashed", "", "its worker was lost, twice", 0.0)]
            yield batch, results


def _send(worker: _Worker, batch: list[int], programs: Sequence[str], timeout_s: float) -> None:
    worker.batch = batch
    worker.deadline = time.monotonic() + len(batch) * timeout_s + _GRACE_S
    with suppress(ConnectionError):  # a dead worker is noticed when its results are read
        worker.channel.send_bytes(json.dumps([programs[i] for i in batch]).encode())


def _receive(worker: _Worker) -> list[ProgramResult] | None:
    try:
        return [ProgramResult(*values) for values in json.loads(worker.channel.recv_bytes())]
    except (EOFError, ConnectionResetError):
        return None
