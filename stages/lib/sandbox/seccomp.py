"""A list of allowed system calls, enforced by seccomp (seccomp(2))."""

import ctypes
import errno
import os
from contextlib import suppress

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


class Filter(ctypes.Structure):
    """``struct sock_fprog``: a compiled filter program."""

    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


def build_filter(*, may_write: bool) -> Filter | None:
    """Return the compiled list of allowed system calls, or None without libseccomp.

    Any other call fails with EPERM; a call of a foreign architecture kills the process.
    ``may_write`` allows opening files for writing: only for use together with Landlock,
    which limits the folders.
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
    return Filter(length=len(code) // bytes_per_instruction, code=code)
