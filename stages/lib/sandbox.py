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
import errno
import os
import resource
import signal
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LAYERS = ("landlock", "seccomp", "namespaces")

SCRATCH_BYTES = 16 * 2**20
OPEN_FILES = 64

_libc = ctypes.CDLL(None, use_errno=True)

_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_SECCOMP_MODE_FILTER = 2

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MOUNT_ATTR_RDONLY, _AT_FDCWD, _AT_RECURSIVE = 1, -100, 0x8000

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 5
_MAKE_REG, _TRUNCATE = 1 << 8, 1 << 14
# Flat by intent: without folders, links and pipes, emptying it and measuring it stay simple.
_SCRATCH_RIGHTS = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE

_COMPUTE_CALLS = """
    read write readv writev pread64 pwrite64 close close_range lseek dup dup2 dup3 pipe pipe2
    stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat
    getcwd chdir fchdir getdents64 fadvise64 select pselect6 poll ppoll
    epoll_create1 epoll_ctl epoll_wait epoll_pwait
    mmap mprotect munmap mremap madvise brk futex sched_yield sched_getaffinity
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend sigaltstack pause
    alarm setitimer getitimer nanosleep clock_nanosleep restart_syscall
    gettimeofday time clock_gettime clock_getres times getrusage getrlimit uname sysinfo
    getpid getppid gettid getuid geteuid getgid getegid getrandom exit exit_group
"""
_SCRATCH_CALLS = "unlink unlinkat rename renameat renameat2 ftruncate fsync fdatasync"
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)  # DUPFD GETFD SETFD GETFL SETFL DUPFD_CLOEXEC
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS .. FIONBIO, FIOCLEX
_O_TMPFILE_BIT = 0o20000000


class _RulesetAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("fs", "net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a program enters: the layers found, and its limits in bytes and seconds."""

    layers: tuple[str, ...]
    ruleset: int | None
    filter: _Filter | None
    address_space: int
    cpu_s: int

    def enter(self) -> None:
        """Confine the calling process for good; of its descriptors 0, 1 and 2 stay open.

        Raises OSError if a layer that was found cannot be entered.
        """
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
            _syscall(_SYS_LANDLOCK_RESTRICT_SELF, self.ruleset, 0)
        os.closerange(3, 2**20)
        if self.filter is not None:
            _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(self.filter))


def prepare(scratch: Path, *, memory_bytes: int, cpu_s: int) -> Sandbox:
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
    namespaces = _enter_namespaces(scratch)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _drop_capabilities()
    ruleset = _build_ruleset(libraries, scratch)
    program_filter = _build_filter(may_write=ruleset is not None)
    found = (ruleset is not None, program_filter is not None, namespaces)
    return Sandbox(
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


def _build_ruleset(libraries: Iterable[Path], scratch: Path) -> int | None:
    """Return a Landlock ruleset with every right that this kernel can withhold, or None."""
    create_version_flag = 1
    try:
        abi = _syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, create_version_flag)
    except OSError:
        return None
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    handled = (1 << rights) - 1
    attr = _RulesetAttr(fs=handled, net=3 if abi >= 4 else 0, scoped=3 if abi >= 6 else 0)
    ruleset = _syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.addressof(attr), ctypes.sizeof(attr), 0)
    for folder in libraries:
        _allow(ruleset, folder, _READ_FILE | _READ_DIR)
    _allow(ruleset, scratch, _SCRATCH_RIGHTS & handled)
    _allow(ruleset, Path(os.devnull), (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
    return ruleset


def _allow(ruleset: int, path: Path, rights: int) -> None:
    beneath = 1
    handle = os.open(path, os.O_PATH)
    rule = _PathBeneath(allowed=rights, folder=handle)
    _syscall(_SYS_LANDLOCK_ADD_RULE, ruleset, beneath, ctypes.addressof(rule), 0)
    os.close(handle)


def _build_filter(*, may_write: bool) -> _Filter | None:
    """Return the compiled list of allowed system calls, or None without libseccomp.

    Any other call fails with EPERM, and one of a foreign architecture kills.
    Without Landlock the filter is what keeps files whole: nothing opens for writing.
    """
    try:
        import pyseccomp as sc
    except (ImportError, RuntimeError):
        return None
    rules = sc.SyscallFilter(sc.ERRNO(errno.EPERM))
    with suppress(OSError):  # a binary tree loads faster; libseccomp has it since 2.5
        rules.set_attr(sc.Attr.CTL_OPTIMIZE, 2)

    def allow(name: str, *conditions: sc.Arg) -> None:
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
        if number >= 0:  # negative: this architecture has no such call
            rules.add_rule(sc.ALLOW, number, *conditions)

    for name in (_COMPUTE_CALLS + (_SCRATCH_CALLS if may_write else "")).split():
        allow(name)
    for command in _FCNTL_COMMANDS:
        allow("fcntl", sc.Arg(1, sc.EQ, command))
    for request in _IOCTL_REQUESTS:
        allow("ioctl", sc.Arg(1, sc.EQ, request))
    allow("prlimit64", sc.Arg(0, sc.EQ, 0))
    changing = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | _O_TMPFILE_BIT
    for name, position in (("open", 1), ("openat", 2)):
        allow(name, sc.Arg(position, sc.MASKED_EQ, changing, os.O_RDONLY))
        if may_write:
            allow(name, sc.Arg(position, sc.MASKED_EQ, os.O_ACCMODE, os.O_WRONLY))
            allow(name, sc.Arg(position, sc.MASKED_EQ, os.O_ACCMODE, os.O_RDWR))
    # The C library falls back to the older clone only when told that clone3 does not exist.
    rules.add_rule(sc.ERRNO(errno.ENOSYS), "clone3")
    with os.fdopen(os.memfd_create("filter"), "w+b") as compiled:
        rules.export_bpf(compiled)
        code = os.pread(compiled.fileno(), 2**20, 0)
    bytes_per_instruction = 8
    return _Filter(length=len(code) // bytes_per_instruction, code=code)


def _enter_namespaces(scratch: Path) -> bool:
    """Go on as the first process of new namespaces, where all but ``scratch`` is read-only."""
    apart = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
    if not any(_libc.unshare(flags) == 0 for flags in (_CLONE_NEWUSER | apart, apart)):
        return False
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _mount(None, Path("/"), _MS_REC | _MS_PRIVATE)
        _mount(scratch, scratch, _MS_BIND)
        _set_read_only(Path("/"), flags=_AT_RECURSIVE, read_only=True)
        _set_read_only(scratch, flags=0, read_only=False)
    except OSError:
        return False
    return True


def _mount(source: Path | None, target: Path, flags: int) -> None:
    from_bytes = None if source is None else os.fsencode(source)
    if _libc.mount(from_bytes, os.fsencode(target), None, ctypes.c_ulong(flags), None):
        raise _last_error()


def _set_read_only(target: Path, *, flags: int, read_only: bool) -> None:
    attr = _MountAttr(**{"set" if read_only else "clear": _MOUNT_ATTR_RDONLY})
    name = ctypes.c_char_p(os.fsencode(target))
    size = ctypes.sizeof(attr)
    _syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, name, flags, ctypes.addressof(attr), size)


def _drop_capabilities() -> None:
    version_3 = 0x20080522
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing):
        raise _last_error()


def _prctl(option: int, value: int, more: int = 0) -> None:
    arguments = [ctypes.c_ulong(each) for each in (value, more, 0, 0)]
    if _libc.prctl(option, *arguments):
        raise _last_error()


def _syscall(number: int, *arguments: int | ctypes.c_char_p | None) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise _last_error()
    return result


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
