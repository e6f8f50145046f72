"""What a stage shows: one bar while it works, one line when it fails.

Libraries' chatter, from Python or C++, goes to ``logs/STAGE.log``; the terminal
gets the progress bars and the last word.
"""

import argparse
import logging
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from stages.lib.core.files import write_json
from stages.lib.core.paths import LOGS, TIMINGS

# They complain, while they are imported, that kernels for other hardware are not there.
for _name in ("torchao", "torch.utils._pytree", "bitsandbytes.backends.cpu.ops"):
    logging.getLogger(_name).setLevel(logging.ERROR)
# TRL, whenever it looks for vLLM, that it knows the versions before.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")

# The terminal, while descriptors 1 and 2 lead to a log.
_terminal: TextIO | None = None

# Bytes that are left on a disk without room.
_FULL = 1 << 20

# Names the terminal of the process that launched this one.
_TERMINAL = "UPHILL_TERMINAL"


def run_stage(
    name: str,
    work: Callable[..., None],
    *,
    item: str | None = None,
    options: Sequence[str] = (),
    more: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    timed: bool = True,
) -> None:
    """Run a stage's ``work`` as the program's main, and note how long it took.

    With ``item`` (the name of what the stage is run for, such as ``arm``) the
    command takes one argument and passes it on, and then each of its ``options``, all
    of them needed (``--out DIR``); ``more`` adds arguments of another kind. A ValueError or
    OSError is the user's to mend: it ends in one line on the terminal and exit status 1. Any other
    exception does so too, and its traceback goes to the log. Seconds and peak memory
    (MiB) are written to ``reports/timings/`` if the stage is ``timed``. Of several processes
    the first alone speaks and writes; each has its log.
    """
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}")
    if item:
        parser.add_argument(item)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    more(parser)
    arguments = list(vars(parser.parse_args()).values())
    texts = (each for each in arguments if isinstance(each, str))
    label = "-".join([name, *(Path(each).name for each in texts)])
    own = f"-rank{rank()}" if is_worker() else ""
    try:
        with _chatter_to(LOGS / f"{label}{own}.log") as log:
            code = _attempt(label, log, lambda: work(*arguments), timed)
    except OSError as error:
        code = _stop(label, error)
    if code:
        sys.exit(code)


def _attempt(label: str, log: Path, work: Callable[[], None], timed: bool) -> int:
    """Work and note the time; return the exit status."""
    try:
        work()
        if timed and rank() == 0:
            spent = {"seconds": seconds_since_start(), "peak_mib": peak_mib()}
            write_json(TIMINGS / f"{label}.json", spent)
    except (ValueError, OSError) as error:
        return _stop(label, error)
    except KeyboardInterrupt:
        log_line(f"{label}: interrupted")
        return 130
    except Exception as error:
        # The log may be on the disk that is full.
        with suppress(OSError), log.open("a", encoding="utf-8") as stream:
            traceback.print_exc(file=stream)
        # torch.save says "unexpected pos" when there is no room.
        full = "the disk is full: " if shutil.disk_usage(Path()).free < _FULL else ""
        said = f"{full}{type(error).__name__}: {' '.join(str(error).split())}"
        log_line(f"{label}: {said}; see {log}")
        return 1
    return 0


def _stop(label: str, error: Exception) -> int:
    log_line(f"{label}: {' '.join(str(error).split())}")
    return 1


def is_worker() -> bool:
    """Return whether a launcher such as accelerate's has started this process."""
    return "RANK" in os.environ


def rank() -> int:
    """Return this process's number among those that were launched together: 0 is the first."""
    return int(os.environ.get("RANK", "0"))


def environment() -> dict[str, str]:
    """Return the environment for processes that are to write on this one's terminal."""
    terminal = _terminal or sys.stderr
    return os.environ | {_TERMINAL: f"/proc/{os.getpid()}/fd/{terminal.fileno()}"}


def log_line(line: str) -> None:
    """Print one line on the terminal, or in the log if this is not the first process."""
    tqdm.write(line, file=_terminal if _terminal and rank() == 0 else sys.stderr)


def progress_bar(*, total: int | None, doing: str, unit: str) -> "tqdm[Any]":
    """Return a progress bar with rate and, if the total is known, time left, on the terminal."""
    terminal = _terminal or sys.stderr
    interactive = terminal.isatty()
    return tqdm(
        total=total,
        desc=doing,
        unit=f" {unit}",
        file=terminal,
        mininterval=0.5 if interactive else 20,
        dynamic_ncols=interactive,
        disable=rank() > 0,
        position=0,
    )


def peak_mib() -> int:
    """Return the largest memory of this process, or of one of its children, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) // 1024


def seconds_since_start() -> float:
    """Return how long this process has run, its imports included, whatever the wall clock did."""
    # proc(5): the 22nd field, in clock ticks since boot; the second may contain spaces.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - began, 1)


@contextmanager
def _chatter_to(log: Path) -> Iterator[Path]:
    """Send file descriptors 1 and 2 to a log; lines and bars still reach the terminal."""
    global _terminal
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = _opened_terminal()
    with log.open("wb") as stream, os.fdopen(terminal, "w", buffering=1) as _terminal:
        sys.stdout.flush()
        saved = os.dup(1)
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield log
        finally:
            with suppress(OSError):  # chatter that a full disk has no room for
                sys.stdout.flush()
                sys.stderr.flush()
            os.dup2(saved, 1)
            os.dup2(terminal, 2)
            os.close(saved)
            _terminal = None


def _opened_terminal() -> int:
    launcher = os.environ.get(_TERMINAL)
    return os.open(launcher, os.O_WRONLY | os.O_APPEND) if launcher else os.dup(2)
