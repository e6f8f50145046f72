"""The worker process of the sandbox: a warm interpreter that forks for its programs.

Plain programs share a fork (``stages.lib.sandbox.plain``), any other has one of its own.
Modules imported before the fork cost a program no time, but each page of them makes every
fork slower: only the workers for programs that name numpy or the like import numpy and sympy.

The fork becomes the program (``stages.lib.sandbox.program``), which decides only its exit
status and its output. The worker gets both from the kernel, and only the worker holds the
channel to the caller (``stages.lib.sandbox.pool``).
"""

import atexit
import gc
import importlib
import json
import math
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from stages.lib.sandbox.confinement import SCRATCH_BYTES, Confinement, kill_descendants, prepare
from stages.lib.sandbox.plain import become_plain_programs
from stages.lib.sandbox.program import REFUSED_EXIT, become_program

ProgramStatus = Literal["ok", "timeout", "crashed", "refused"]

OUTPUT_BYTES = 64 * 2**10
ERROR_BYTES = 2_000
CHECK = "print(6 * 7)"
START_S = 120.0

_DISK_CHECK_S = 0.02
# The most that a fork of plain programs may take: thousands of times what most of them need.
_PLAIN_S = 0.25
_TIMEOUT = "it ran too long"
# OpenBLAS, OpenMP and MKL start their threads when they are loaded.
_THREAD_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_STANDARD_MODULES = """
    bisect calendar cmath collections copy datetime decimal fractions functools
    hashlib heapq itertools json math operator random re statistics string time typing
"""


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended, what it printed, and how many seconds of wall time it took.

    - ``ok``: it ended by itself with exit status 0.
    - ``timeout``: it ran longer than the limit.
    - ``refused``: the sandbox stopped it: it ended with a PermissionError, a read-only file
      system, a thread that could not start or the signal SIGSYS, or with an error raised
      while one of these was handled; or it was not run: the text is too long or invalid.
    - ``crashed``: anything else, such as a SyntaxError.

    ``stdout`` holds at most ``OUTPUT_BYTES``; a program that prints more has crashed.
    ``error`` is the end of the traceback or a sentence, and empty for ``ok``.
    """

    status: ProgramStatus
    stdout: str
    error: str
    seconds: float


class _Ended(NamedTuple):
    """How a fork ended: why it was stopped, or "", its exit status, and what it wrote."""

    stop_reason: str
    exit_code: int
    out: bytes
    err: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Settings of a worker: scratch folder, whether it imports numpy and sympy, limits."""

    folder: str
    libraries: bool
    timeout_s: float
    memory_mb: int


def serve(config_json: str) -> NoReturn:
    """Run the programs that arrive on descriptor 0 and send back their results, until the end."""
    config = WorkerConfig(**json.loads(config_json))
    channel = Connection(os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _warm_up(libraries=config.libraries)
    scratch = Path(config.folder, str(os.getpid()))
    scratch.mkdir()
    confinement = prepare(
        scratch, memory_bytes=config.memory_mb * 2**20, cpu_s=math.ceil(config.timeout_s) + 1
    )
    os.chdir(scratch)
    check = _run(CHECK, confinement, channel, START_S)
    greeting = [confinement.layers, check.status, check.stdout, check.error]
    channel.send_bytes(json.dumps(greeting).encode())
    with suppress(EOFError, ConnectionError):
        while True:
            texts = json.loads(channel.recv_bytes())
            results = _run_batch(texts, confinement, channel, config.timeout_s)
            channel.send_bytes(json.dumps([astuple(result) for result in results]).encode())
    os._exit(0)


def _warm_up(*, libraries: bool) -> None:
    # Programs see an empty ``os.environ``. The limits stand in the environment of C alone,
    # for libraries that a program loads itself: scipy has an OpenBLAS of its own, and ends
    # the process if a thread cannot start.
    os.environ.clear()
    for variable in _THREAD_LIMITS:
        os.putenv(variable, "1")
    for name in _STANDARD_MODULES.split():
        importlib.import_module(name)
    if libraries:
        importlib.import_module("numpy")
        sympy = importlib.import_module("sympy")
        x, y = sympy.symbols("x y")
        sympy.solve([x + y - 3, x - y - 1], [x, y])
        sympy.simplify(sympy.solve(x**2 - 2, x)[0])
    sys.argv = ["program.py"]
    atexit._clear()
    gc.collect()
    gc.freeze()


def _run_batch(
    texts: Sequence[str], confinement: Confinement, channel: Connection, timeout_s: float
) -> list[ProgramResult]:
    """Run the plain programs of several in one fork, and each that is left in a fork of its own."""
    plain = {}
    if len(texts) > 1:
        plain = _run_plain(texts, confinement, channel, min(timeout_s, _PLAIN_S))
    return [
        plain.get(position) or _run(text, confinement, channel, timeout_s)
        for position, text in enumerate(texts)
    ]


def _run_plain(
    texts: Sequence[str], confinement: Confinement, channel: Connection, timeout_s: float
) -> dict[int, ProgramResult]:
    """Run plain programs, and return the results of those that end well, by their positions."""
    ended = _fork(partial(become_plain_programs, texts, confinement), channel, timeout_s)
    results = {}
    with suppress(ValueError):  # the last line is not whole if the fork was stopped
        for line in ended.out.splitlines():
            position, printed, seconds = json.loads(line)
            if len(printed.encode()) <= OUTPUT_BYTES:
                results[position] = ProgramResult("ok", printed, "", seconds)
    return results


def _run(
    text: str, confinement: Confinement, channel: Connection, timeout_s: float
) -> ProgramResult:
    ended = _fork(partial(become_program, text, confinement), channel, timeout_s)
    stderr = ended.err[-ERROR_BYTES:].decode(errors="replace")
    status, error = _outcome(ended.stop_reason, ended.exit_code, stderr)
    stdout = ended.out[:OUTPUT_BYTES].decode(errors="replace")
    return ProgramResult(status, stdout, error, ended.seconds)


def _fork(become: Callable[[int, int], NoReturn], channel: Connection, timeout_s: float) -> _Ended:
    """Fork, call ``become`` with the ends of two pipes in the fork, and wait for its end."""
    started = time.monotonic()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        become(out_end, err_end)
    os.close(out_end)
    os.close(err_end)
    output = {out: bytearray(), err: bytearray()}
    stop_reason = _watch(pid, output, channel, started + timeout_s)
    if stop_reason:
        os.kill(pid, signal.SIGKILL)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    kill_descendants()
    # The pipes may still hold what was written after the last poll.
    for pipe in output:
        while len(output[pipe]) <= OUTPUT_BYTES and _read(pipe, output[pipe]):
            pass
        os.close(pipe)
    _empty(Path())
    stop_reason = stop_reason or _excess_output(output)
    seconds = time.monotonic() - started
    return _Ended(stop_reason, exit_code, bytes(output[out]), bytes(output[err]), seconds)


def _watch(pid: int, output: dict[int, bytearray], channel: Connection, deadline: float) -> str:
    """Collect a program's output until it ends; return why it must be stopped, or ""."""
    process = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(channel, 0)
    for descriptor in (process, *output):
        os.set_blocking(descriptor, False)
        poller.register(descriptor, select.POLLIN)
    next_check = time.monotonic() + _DISK_CHECK_S
    stop_reason, ready = "", {}
    while not stop_reason and process not in ready:
        now = time.monotonic()
        ready = dict(poller.poll(max(0.0, 1000 * (min(next_check, deadline) - now))))
        if channel.fileno() in ready:  # the caller has ended
            os._exit(1)
        for pipe in ready.keys() & output.keys():
            if not _read(pipe, output[pipe]):
                poller.unregister(pipe)
        stop_reason = _excess_output(output)
        if now >= deadline:
            stop_reason = _TIMEOUT
        elif now >= next_check:
            stop_reason = stop_reason or _excess_on_disk()
            next_check = now + _DISK_CHECK_S
    os.close(process)
    return stop_reason


def _read(pipe: int, buffer: bytearray) -> bool:
    """Add one chunk to the buffer; return whether more may follow."""
    try:
        chunk = os.read(pipe, OUTPUT_BYTES)
    except BlockingIOError:
        return False
    buffer += chunk
    return bool(chunk)


def _excess_output(output: dict[int, bytearray]) -> str:
    if max(map(len, output.values())) > OUTPUT_BYTES:
        return f"it printed more than {OUTPUT_BYTES} bytes"
    return ""


def _excess_on_disk() -> str:
    used = 0
    with os.scandir() as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # the program may delete it meanwhile
                used += 4096 + 512 * entry.stat(follow_symlinks=False).st_blocks
    if used > SCRATCH_BYTES:
        return f"it wrote more than {SCRATCH_BYTES} bytes"
    return ""


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _outcome(stop_reason: str, exit_code: int, stderr: str) -> tuple[ProgramStatus, str]:
    if stop_reason:
        return "timeout" if stop_reason == _TIMEOUT else "crashed", stop_reason
    if exit_code == 0:
        return "ok", ""
    refused = exit_code in (REFUSED_EXIT, -signal.SIGSYS)
    if exit_code < 0:
        stderr += f"killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return "refused" if refused else "crashed", stderr.strip() or f"exit status {exit_code}"
