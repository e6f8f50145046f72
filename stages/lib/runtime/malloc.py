"""How this process treats memory that it has freed."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Tell glibc, where it is the C library, not to give freed memory back to the system.

    It gives back every large tensor, and the next one is made of new pages, each cleared
    by the kernel first: a fifth of a training step or of a generated token on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
