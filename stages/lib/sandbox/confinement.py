"""What the Linux kernel offers to confine a process, without root and without containers.

``prepare`` is called once in a worker process: it enters what holds for the
worker as well (namespaces, no capabilities) and builds what is entered later.
``Sandbox.enter`` is called in a fork of the worker, which from then on

- reads the interpreter's own libraries, reads and writes one scratch folder (Landlock;
  names and sizes of other files stay visible, ``stat`` is not restricted by it),
- uses only the system calls of a list: no sockets, no new processes or threads,
  no program start, no signals, no shared memory (seccomp),
- sees no network, no other processes and a read-only file system (namespaces),
- is bounded in memory, CPU time, file size and descriptors (resource limits).

A layer that this machine lacks is left out of ``Sandbox.layers``. Sources: landlock(7),
seccomp(2), namespaces(7), mount_setattr(2), capset(2) and the kernel's ``linux/landlock.h``.
"""

import ctypes
import os
import resource
import signal
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stages.lib.sandbox.landlock import SYS_LANDLOCK_RESTRICT_SELF, build_ruleset
from stages.lib.sandbox.libc import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER,
    last_error,
    libc,
    prctl,
    syscall,
)
from stages.lib.sandbox.namespaces import enter_namespaces
from stages.lib.sandbox.seccomp import Filter, build_filter

LAYERS = ("landlock", "seccomp", "namespaces")


SCRATCH_BYTES = 16 * 2**20

OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a program enters: the layers found, and its limits in bytes and seconds."""

    layers: tuple[str, ...]
    ruleset: int | None
    filter: Filter | None
    address_space: int
    cpu_s: int

    def enter(self) -> None:
        """Confine the calling process for good; of its descriptors 0, 1 and 2 stay open.

        Raises OSError if a layer that was found cannot be entered.
        """
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for kind, value in (
            (resource.RLIMIT_AS, self.address_space),
            (resource.RLIMIT_CPU, self.cpu_s),
            (resource.RLIMIT_FSIZE, SCRATCH_BYTES),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            _limit(kind, value)
        if self.ruleset is not None:
            syscall(SYS_LANDLOCK_RESTRICT_SELF, self.ruleset, 0)
        os.closerange(3, 2**20)
        if self.filter is not None:
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self.filter))


def prepare(scratch: Path, *, memory_bytes: int, cpu_s: int) -> Confinement:
    """Confine this worker as far as its work allows, and build what its programs enter.

    ``memory_bytes`` is what a program may map beyond what the worker has mapped
    when this is called. The process must have one thread. With namespaces, what
    returns is a child of the caller.
    """
    # If memory runs out all the same, the kernel is to take a program, not the caller.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    libraries = _library_folders()
    namespaces = enter_namespaces(scratch)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)
    _drop_capabilities()
    ruleset = build_ruleset(libraries, scratch)
    program_filter = build_filter(may_write=ruleset is not None)
    found = (ruleset is not None, program_filter is not None, namespaces)
    return Confinement(
        layers=tuple(layer for layer, there in zip(LAYERS, found, strict=True) if there),
        ruleset=ruleset,
        filter=program_filter,
        address_space=mapped + memory_bytes,
        cpu_s=cpu_s,
    )


def kill_descendants() -> None:
    """Kill and reap every process that descends from this worker, however it detached itself."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            continue
        # The first process of a pid namespace reaches all others in it at once, and no one else.
        victims = [-1] if os.getpid() == 1 else _children()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        os.waitpid(-1, 0)


def _children() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _library_folders() -> set[Path]:
    """Return the folders of Python's modules and of every shared library mapped now."""
    paths = sysconfig.get_paths()
    folders = {Path(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    for line in Path("/proc/self/maps").read_text().splitlines():
        mapped = line.split(maxsplit=5)[5:]
        if mapped and ".so" in mapped[0]:
            folders.add(Path(mapped[0]).parent)
    return {folder for folder in folders if folder.is_dir()}


def _drop_capabilities() -> None:
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing):
        raise last_error()
