"""Child processes that end with their parent."""

import ctypes
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that gets SIGTERM when this one ends, however it ends."""
    end_with_parent = partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM)
    return subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)
