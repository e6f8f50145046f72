"""Settings of the memory allocator."""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Keep freed memory in this process instead of returning it to the system (glibc only).

    By default glibc returns every large tensor, and the next one is made of new pages, which the
    kernel clears first. That takes a fifth of a training step or a generated token on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
