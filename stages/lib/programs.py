"""Runs Python programs that a model wrote, each in a sandboxed fork of a warm worker.

A worker is a separate interpreter with an empty environment and with numpy and sympy
loaded. It forks once per program; the fork enters the sandbox (``stages.lib.sandbox``)
and executes the text as ``__main__``. All that a program decides is its own exit status
and what its standard output says: the worker learns both from the kernel, and only the
worker holds the channel to the caller.
"""

import atexit
import errno
import gc
import importlib
import json
import linecache
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Literal, NoReturn

from stages.lib import sandbox

ProgramStatus = Literal["ok", "timeout", "crashed", "refused"]

PROGRAM_CHARACTERS = 100_000
OUTPUT_BYTES = 64 * 2**10
ERROR_BYTES = 2_000

_START_S, _STOP_S, _GRACE_S, _LOOK_S = 120.0, 5.0, 10.0, 0.02
_IDLE = -1
_REFUSED_EXIT = 213
_TIMEOUT = "it ran too long"
_CHECK = "print(6 * 7)"
# All that a worker gets. The seed makes the order in which sets print reproducible.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"} | {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")
}
_START_WORKER = (
    "import sys; sys.path.append(sys.argv[1]); from stages.lib.programs import serve; "
    "sys.path.pop(); serve(sys.argv[2])"
)
_PRELOADED = """
    numpy sympy bisect calendar cmath collections copy datetime decimal fractions functools
    hashlib heapq itertools json math operator random re statistics string time typing
"""

_exit = os._exit


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """How a program ended, what it printed, and how many seconds of wall time it took.

    - ``ok``: it ended by itself with exit status 0.
    - ``timeout``: it ran longer than it may.
    - ``refused``: it ended on what the sandbox forbids things with, or on an error that
      came of that: a PermissionError, a read-only file system, a thread that cannot
      start, the signal SIGSYS; or it was never run, being too long or no valid text.
    - ``crashed``: anything else. Text that does not compile crashes with its SyntaxError.

    ``stdout`` holds at most ``OUTPUT_BYTES``; a program that prints more has crashed.
    ``error`` is the end of the traceback or a sentence, and empty for ``ok``.
    """

    status: ProgramStatus
    stdout: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Settings:
    folder: str
    timeout_s: float
    memory_mb: int


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
    pending = deque(i for i in range(len(programs)) if i not in results)
    crew: list[_Worker] = []
    with TemporaryDirectory(prefix="programs-") as folder:
        settings = _Settings(folder, timeout_s, memory_mb)
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


def _start(settings: _Settings) -> _Worker:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-s", "-P", "-X", "utf8", "-c", _START_WORKER]
    with theirs:
        process = subprocess.Popen(
            [*command, str(Path(__file__).resolve().parents[2]), json.dumps(asdict(settings))],
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
        if not worker.channel.poll(_START_S):
            raise OSError(f"a program worker did not start within {_START_S} s")
        layers, status, stdout, error = json.loads(worker.channel.recv_bytes())
    except (EOFError, ConnectionResetError) as end:
        _, complaint = worker.process.communicate()
        raise OSError(f"a program worker did not start: {complaint.decode()}") from end
    if (status, stdout) != ("ok", "42\n"):
        raise OSError(f"a program worker failed at {_CHECK}: {status} {error}")
    if not layers and not allow_unprotected:
        raise OSError(
            "model-written programs cannot be confined: this machine offers none of "
            f"{', '.join(sandbox.LAYERS)}; allow_unprotected accepts that"
        )
    _warn_of(tuple(layer for layer in sandbox.LAYERS if layer not in layers))


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
    crew: list[_Worker], programs: Sequence[str], pending: deque[int], settings: _Settings
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


# What follows runs in the worker.


def serve(settings_json: str) -> NoReturn:
    """Be a worker: answer each program that arrives on descriptor 0 with its result."""
    settings = _Settings(**json.loads(settings_json))
    channel = Connection(os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _warm_up()
    scratch = Path(settings.folder, str(os.getpid()))
    scratch.mkdir()
    box = sandbox.prepare(
        scratch,
        memory_bytes=settings.memory_mb * 2**20,
        cpu_s=math.ceil(settings.timeout_s) + 1,
    )
    os.chdir(scratch)
    check = _run(_CHECK, box, channel, _START_S)
    channel.send_bytes(json.dumps([box.layers, check.status, check.stdout, check.error]).encode())
    with suppress(EOFError, ConnectionError):
        while True:
            text = channel.recv_bytes().decode()
            result = _run(text, box, channel, settings.timeout_s)
            channel.send_bytes(json.dumps(astuple(result)).encode())
    _exit(0)


def _warm_up() -> None:
    for name in _PRELOADED.split():
        importlib.import_module(name)
    sympy = sys.modules["sympy"]
    x, y = sympy.symbols("x y")
    sympy.solve([x + y - 3, x - y - 1], [x, y])
    sympy.simplify(sympy.solve(x**2 - 2, x)[0])
    sys.argv = ["program.py"]
    os.environ.clear()
    atexit._clear()
    gc.collect()
    gc.freeze()


def _run(text: str, box: sandbox.Sandbox, channel: Connection, timeout_s: float) -> ProgramResult:
    started = time.monotonic()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(text, box, out_end, err_end)
    os.close(out_end)
    os.close(err_end)
    said = {out: bytearray(), err: bytearray()}
    stopped = _watch(pid, said, channel, started + timeout_s)
    if stopped:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sandbox.kill_descendants()
    for end in said:
        while len(said[end]) <= OUTPUT_BYTES and _read(end, said[end]):
            pass
        os.close(end)
    _empty(Path())
    stopped = stopped or _excess(said)
    status, error = _judge(stopped, code, said[err][-ERROR_BYTES:].decode(errors="replace"))
    stdout = said[out][:OUTPUT_BYTES].decode(errors="replace")
    return ProgramResult(status, stdout, error, time.monotonic() - started)


def _watch(pid: int, said: dict[int, bytearray], channel: Connection, deadline: float) -> str:
    """Collect what a program says until it ends; return why it must be stopped, or nothing."""
    ended = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(channel, 0)
    for end in (ended, *said):
        os.set_blocking(end, False)
        poller.register(end, select.POLLIN)
    look = time.monotonic() + _LOOK_S
    why, ready = "", {}
    while not why and ended not in ready:
        now = time.monotonic()
        ready = dict(poller.poll(max(0.0, 1000 * (min(look, deadline) - now))))
        if channel.fileno() in ready:  # the caller is gone
            _exit(1)
        for end in ready.keys() & said.keys():
            if not _read(end, said[end]):
                poller.unregister(end)
        why = _excess(said)
        if now >= deadline:
            why = _TIMEOUT
        elif now >= look:
            why, look = why or _excess_on_disk(), now + _LOOK_S
    os.close(ended)
    return why


def _read(end: int, into: bytearray) -> bool:
    try:
        chunk = os.read(end, OUTPUT_BYTES)
    except BlockingIOError:
        return False
    into += chunk
    return bool(chunk)


def _excess(said: dict[int, bytearray]) -> str:
    if max(map(len, said.values())) > OUTPUT_BYTES:
        return f"it printed more than {OUTPUT_BYTES} bytes"
    return ""


def _excess_on_disk() -> str:
    taken = 0
    with os.scandir() as entries:
        for entry in entries:
            taken += 4096 + 512 * entry.stat(follow_symlinks=False).st_blocks
    if taken > sandbox.SCRATCH_BYTES:
        return f"it wrote more than {sandbox.SCRATCH_BYTES} bytes"
    return ""


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _judge(stopped: str, code: int, complaint: str) -> tuple[ProgramStatus, str]:
    if stopped == _TIMEOUT:
        return "timeout", stopped
    if stopped:
        return "crashed", stopped
    if code == 0:
        return "ok", ""
    refused = code in (_REFUSED_EXIT, -signal.SIGSYS)
    if code < 0:
        complaint += f"killed by signal {-code} ({signal.strsignal(-code)})"
    return "refused" if refused else "crashed", complaint.strip() or f"exit status {code}"


# What follows runs in the fork that becomes the program.


def _become(text: str, box: sandbox.Sandbox, out: int, err: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        box.enter()
        status = _execute(text)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.__stdout__, sys.__stderr__):
            with suppress(AttributeError, ValueError):  # replaced or closed by the program
                if stream is not None:
                    stream.flush()
        code = status
    except OSError:
        traceback.print_exc()
    finally:
        _exit(code)


def _execute(text: str) -> int:
    """Execute a program as ``__main__`` and return its exit status."""
    name = "<program>"
    main = sys.modules["__main__"] = ModuleType("__main__")
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        exec(compile(text, name, "exec", dont_inherit=True), vars(main))
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return (stop.code or 0) & 0xFF
        sys.stderr.write(f"{stop.code}\n")
        return 1
    except BaseException as error:  # a program may raise anything
        own = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, own)
        return _REFUSED_EXIT if _forbidden(error) else 1
    return 0


def _forbidden(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, PermissionError):
            return True
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            return True
        if isinstance(error, RuntimeError) and error.args == ("can't start new thread",):
            return True
        error = error.__cause__ or error.__context__
    return False
