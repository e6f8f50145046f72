"""Execution of one program: what the fork of a worker does."""

import atexit
import errno
import linecache
import os
import sys
import traceback
from contextlib import suppress
from types import ModuleType
from typing import NoReturn

from stages.lib.sandbox.confinement import Confinement

REFUSED_EXIT = 213
"""Exit status of a program that the sandbox stopped."""

# A program can replace ``os._exit``.
_exit = os._exit


def become_program(text: str, confinement: Confinement, out: int, err: int) -> NoReturn:
    """Confine this process, execute a program, and end with its exit status.

    Its output goes to the descriptors ``out`` and ``err``.
    """
    exit_code = 1
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        confinement.enter()
        status = _execute(text)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.__stdout__, sys.__stderr__):
            with suppress(AttributeError, ValueError):  # replaced or closed by the program
                if stream is not None:
                    stream.flush()
        # Only now: an exit handler or a stream that raises is a failure.
        exit_code = status
    except OSError:
        traceback.print_exc()
    finally:
        _exit(exit_code)


def _execute(text: str) -> int:
    """Execute a program as ``__main__`` and return its exit status."""
    name = "<program>"
    main = sys.modules["__main__"] = ModuleType("__main__")
    # So that tracebacks quote the program's lines.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    try:
        exec(compile(text, name, "exec", dont_inherit=True), vars(main))
    except SystemExit as exit_request:
        code = exit_request.code
        if code is None or isinstance(code, int):
            return (code or 0) & 0xFF
        sys.stderr.write(f"{code}\n")
        return 1
    except BaseException as error:  # a program may raise anything
        # The first frame of the traceback is this function's own.
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, frames)
        return REFUSED_EXIT if _is_refusal(error) else 1
    return 0


def _is_refusal(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, came from the sandbox."""
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
