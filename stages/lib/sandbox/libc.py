"""Linux system calls through ctypes."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38

SECCOMP_MODE_FILTER = 2


def prctl(option: int, value: int, extra: int = 0) -> None:
    """Call prctl(2). Raises OSError if it fails."""
    # Some options require their unused arguments to be 0, as full machine words.
    arguments = [ctypes.c_ulong(argument) for argument in (value, extra, 0, 0)]
    if libc.prctl(option, *arguments):
        raise last_error()


def syscall(number: int, *arguments: int | ctypes.c_char_p | None) -> int:
    """Make a system call by its number. Raises OSError if it fails."""
    words = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise last_error()
    return result


def last_error() -> OSError:
    """Return the error of the last call as an OSError."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
