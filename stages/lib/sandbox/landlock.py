"""Restriction of file access by Landlock (landlock(7), ``linux/landlock.h``)."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from stages.lib.sandbox.libc import syscall

_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 5
_MAKE_REG, _TRUNCATE = 1 << 8, 1 << 14

# No right to make folders, links or pipes: a flat folder is simple to measure and to empty.
_SCRATCH_RIGHTS = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE


class _RulesetAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("fs", "net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def build_ruleset(libraries: Iterable[Path], scratch: Path) -> int | None:
    """Return the descriptor of a Landlock ruleset, or None if the kernel has no Landlock.

    It withholds every right that this kernel knows, except reading in the folders
    ``libraries``, and reading and writing in the folder ``scratch`` and /dev/null.
    """
    create_version_flag = 1
    try:
        abi = syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, create_version_flag)
    except OSError:
        return None
    # Each version of the interface knows more rights; an unknown one is an error.
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)
    handled = (1 << rights) - 1
    attr = _RulesetAttr(fs=handled, net=3 if abi >= 4 else 0, scoped=3 if abi >= 6 else 0)
    ruleset = syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.addressof(attr), ctypes.sizeof(attr), 0)
    for folder in libraries:
        _allow(ruleset, folder, _READ_FILE | _READ_DIR)
    _allow(ruleset, scratch, _SCRATCH_RIGHTS & handled)
    _allow(ruleset, Path(os.devnull), (_READ_FILE | _WRITE_FILE | _TRUNCATE) & handled)
    return ruleset


def _allow(ruleset: int, path: Path, rights: int) -> None:
    path_beneath_rule = 1
    handle = os.open(path, os.O_PATH)
    rule = _PathBeneath(allowed=rights, folder=handle)
    syscall(_SYS_LANDLOCK_ADD_RULE, ruleset, path_beneath_rule, ctypes.addressof(rule), 0)
    os.close(handle)
