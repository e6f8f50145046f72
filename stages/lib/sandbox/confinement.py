"""Confinement of a process by the Linux kernel, without root and without containers.

``prepare`` is called once in a worker process. It applies what holds for the worker as
well (namespaces, no capabilities) and builds the rest. ``Confinement.enter`` is called in
a fork of the worker. From then on the fork

- reads the interpreter's own libraries, and reads and writes one scratch folder (Landlock;
  it does not restrict ``stat``: names and sizes of other files stay visible),
- uses only the system calls of a list: no sockets, no new processes or threads,
  no program start, no signals, no shared memory (seccomp),
- sees no network, no other processes and a read-only file system (namespaces),
- is bounded in memory, CPU time, file size and descriptors (resource limits).

``Confinement.layers`` holds the layers that this machine offers. Sources: landlock(7),
seccomp(2), namespaces(7), mount_setattr(2), capset(2) and the kernel's ``linux/landlock.h``.
"""

import ctypes
import os
import resource
import signal
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
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
    """The layers and limits of a program: ``address_space`` in bytes, ``cpu_s`` in seconds."""

    layers: tuple[str, ...]
    ruleset: int | None
    filter: Filter | None
    address_space: int
    cpu_s: int

    def enter(self) -> None:
        """Confine the calling process for good, and close its descriptors except 0, 1 and 2.

        Raises OSError if one of the layers cannot be entered.
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
            _, hard = resource.getrlimit(kind)
            limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (limit, limit))
        if self.ruleset is not None:
            syscall(SYS_LANDLOCK_RESTRICT_SELF, self.ruleset, 0)
        os.closerange(3, 2**20)
        # Last, because the filter forbids the calls above.
        if self.filter is not None:
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self.filter))


def prepare(scratch: Path, *, memory_bytes: int, cpu_s: int) -> Confinement:
    """Confine this worker, except for rights it needs, and prepare its programs' confinement.

    ``memory_bytes`` is what a program may map beyond what the worker has mapped when this
    is called. The process must have one thread. With namespaces, this function returns in
    a child of the calling process (``enter_namespaces``).
    """
    # If memory runs out all the same, the kernel should kill a program, not the caller.
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
    available = (ruleset is not None, program_filter is not None, namespaces)
    return Confinement(
        layers=tuple(compress(LAYERS, available)),
        ruleset=ruleset,
        filter=program_filter,
        address_space=mapped + memory_bytes,
        cpu_s=cpu_s,
    )


def kill_descendants() -> None:
    """Kill and reap every descendant of this worker, including detached ones."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended:
            continue
        # For the first process of a PID namespace, -1 means all others in it, and none outside.
        children = Path("/proc/thread-self/children")
        victims = ["-1"] if os.getpid() == 1 else children.read_text().split()
        for victim in victims:
            os.kill(int(victim), signal.SIGKILL)
        os.waitpid(-1, 0)


def _library_folders() -> set[Path]:
    """Return the folders of Python's modules and of every shared library that is mapped."""
    paths = sysconfig.get_paths()
    folders = {Path(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[5:]
        if path and ".so" in path[0]:
            folders.add(Path(path[0]).parent)
    return {folder for folder in folders if folder.is_dir()}


def _drop_capabilities() -> None:
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    no_capabilities = (ctypes.c_uint32 * 6)()
    if libc.capset(header, no_capabilities):
        raise last_error()
