"""User, mount, network, PID and IPC namespaces (namespaces(7), mount_setattr(2))."""

import ctypes
import os
import signal
from pathlib import Path

from stages.lib.sandbox.libc import PR_SET_PDEATHSIG, last_error, libc, prctl, syscall

_SYS_MOUNT_SETATTR = 442

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000

_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18

_MOUNT_ATTR_RDONLY, _AT_FDCWD, _AT_RECURSIVE = 1, -100, 0x8000


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def enter_namespaces(scratch: Path) -> bool:
    """Move this process into new namespaces, where only the folder ``scratch`` is writable.

    Returns whether that worked. On success the caller continues as a forked child, the
    first process of the new PID namespace; the original process only waits for it.
    """
    unshared = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
    # Without a user namespace, root can still enter the others.
    if not any(libc.unshare(flags) == 0 for flags in (_CLONE_NEWUSER | unshared, unshared)):
        return False
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _mount(None, Path("/"), _MS_REC | _MS_PRIVATE)
        _mount(scratch, scratch, _MS_BIND)
        _set_read_only(Path("/"), flags=_AT_RECURSIVE, read_only=True)
        _set_read_only(scratch, flags=0, read_only=False)
    except OSError:
        return False
    return True


def _mount(source: Path | None, target: Path, flags: int) -> None:
    source_name = None if source is None else os.fsencode(source)
    if libc.mount(source_name, os.fsencode(target), None, ctypes.c_ulong(flags), None):
        raise last_error()


def _set_read_only(target: Path, *, flags: int, read_only: bool) -> None:
    attr = _MountAttr(**{"set" if read_only else "clear": _MOUNT_ATTR_RDONLY})
    name = ctypes.c_char_p(os.fsencode(target))
    size = ctypes.sizeof(attr)
    syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, name, flags, ctypes.addressof(attr), size)
