"""A worker that runs programs: a warm interpreter that forks once per program.

What is imported before the fork is there at once, but every page of it makes the fork
and its end dearer: only workers for programs that name numpy or sympy import them.

The fork enters the sandbox (``stages.lib.sandbox.confinement``) and executes the text as
``__main__``. All that a program decides is its own exit status and what its standard
output says: the worker learns both from the kernel, and only the worker holds the
channel to the caller (``stages.lib.sandbox.pool``).
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
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import astuple, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Literal, NoReturn

from stages.lib.sandbox import confinement

ProgramStatus = Literal["ok", "timeout", "crashed", "refused"]

OUTPUT_BYTES = 64 * 2**10
ERROR_BYTES = 2_000
CHECK = "print(6 * 7)"
START_S = 120.0

_LOOK_S = 0.02
_REFUSED_EXIT = 213
_TIMEOUT = "it ran too long"
_PRELOADED = """
    bisect calendar cmath collections copy datetime decimal fractions functools
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
class WorkerConfig:
    """Where a worker's programs run, how long and how large they may get, what is loaded."""

    folder: str
    libraries: bool
    timeout_s: float
    memory_mb: int


def serve(settings_json: str) -> NoReturn:
    """Be a worker: answer each program that arrives on descriptor 0 with its result."""
    settings = WorkerConfig(**json.loads(settings_json))
    channel = Connection(os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _warm_up(libraries=settings.libraries)
    scratch = Path(settings.folder, str(os.getpid()))
    scratch.mkdir()
    box = confinement.prepare(
        scratch,
        memory_bytes=settings.memory_mb * 2**20,
        cpu_s=math.ceil(settings.timeout_s) + 1,
    )
    os.chdir(scratch)
    check = _run(CHECK, box, channel, START_S)
    channel.send_bytes(json.dumps([box.layers, check.status, check.stdout, check.error]).encode())
    with suppress(EOFError, ConnectionError):
        while True:
            text = channel.recv_bytes().decode()
            result = _run(text, box, channel, settings.timeout_s)
            channel.send_bytes(json.dumps(astuple(result)).encode())
    _exit(0)


def _warm_up(*, libraries: bool) -> None:
    for name in _PRELOADED.split():
        importlib.import_module(name)
    if libraries:
        importlib.import_module("numpy")
        _warm_up_sympy(importlib.import_module("sympy"))
    sys.argv = ["program.py"]
    os.environ.clear()
    atexit._clear()
    gc.collect()
    gc.freeze()


def _warm_up_sympy(sympy: ModuleType) -> None:
    x, y = sympy.symbols("x y")
    sympy.solve([x + y - 3, x - y - 1], [x, y])
    sympy.simplify(sympy.solve(x**2 - 2, x)[0])


def _run(
    text: str, box: confinement.Confinement, channel: Connection, timeout_s: float
) -> ProgramResult:
    started = time.monotonic()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_program(text, box, out_end, err_end)
    os.close(out_end)
    os.close(err_end)
    said = {out: bytearray(), err: bytearray()}
    stopped = _watch(pid, said, channel, started + timeout_s)
    if stopped:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    confinement.kill_descendants()
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
    if taken > confinement.SCRATCH_BYTES:
        return f"it wrote more than {confinement.SCRATCH_BYTES} bytes"
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


def _become_program(text: str, box: confinement.Confinement, out: int, err: int) -> NoReturn:
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
