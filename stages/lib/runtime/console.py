"""Run a stage as a command: progress bars, errors in one line, and all other output in a log.

Output of libraries, from Python or C++, goes to ``logs/STAGE.log``. The terminal gets the
progress bars and the lines of ``log_line``.
"""

import argparse
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from stages.lib.core.files import write_json
from stages.lib.core.paths import LOGS, TIMINGS

# TRL warns whenever it looks for vLLM, as it supports other versions.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")

# The terminal, while file descriptors 1 and 2 are redirected to a log.
_terminal: TextIO | None = None

# A disk with fewer free bytes counts as full.
_FULL = 1 << 20

# Help for the argument that names what a command works on.
_ITEM_HELP = {
    "arm": "an arm of weigh.arms",
    "name": "a model, as params.yaml names it",
    "model": "a model of data/models/",
    "action": "what to do, as listed above",
}

# Environment variable with the path of the launching process's terminal.
_TERMINAL = "UPHILL_TERMINAL"


def run_stage(
    name: str,
    work: Callable[..., None],
    *,
    item: str | None = None,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None,
    timed: bool = True,
) -> None:
    """Run ``work`` as a command with these arguments, and exit with status 1 if it fails.

    ``item`` names a positional argument, such as ``arm``; ``add_arguments`` adds others. All are
    passed to ``work`` in this order.

    A ValueError or OSError is the user's to correct and ends in one line on the terminal. So does
    any other exception, whose traceback goes to the log. If ``timed``, the seconds and the peak
    memory (MiB) are written to ``reports/timings/``. Of several launched processes, only the first
    uses the terminal and writes the timing; each has a log of its own.
    """
    # argparse would name the file, not the module.
    module = sys.modules["__main__"]
    spec = getattr(module, "__spec__", None)
    command = f"python -m {spec.name.removesuffix('.__main__')}" if spec else None
    parser = argparse.ArgumentParser(
        prog=command,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if item:
        parser.add_argument(item, help=_ITEM_HELP.get(item))
    add_arguments(parser)
    arguments = list(vars(parser.parse_args()).values())
    # Logs and timings of each item have its name.
    texts = [argument for argument in arguments if isinstance(argument, str)]
    label = "-".join([name, *(Path(text).name for text in texts)])
    suffix = f"-rank{rank()}" if is_worker() else ""
    try:
        with _redirect_output(LOGS / f"{label}{suffix}.log") as log:
            status = _attempt(label, log, lambda: work(*arguments), timed)
    except OSError as error:
        # The log itself could not be opened.
        status = _report_failure(label, error)
    if status:
        sys.exit(status)


def is_worker() -> bool:
    """Return whether a launcher such as accelerate's has started this process."""
    return "RANK" in os.environ


def rank() -> int:
    """Return this process's number among those that were launched together, from 0."""
    return int(os.environ.get("RANK", "0"))


def environment() -> dict[str, str]:
    """Return the environment for child processes that are to write on this terminal."""
    terminal = _terminal or sys.stderr
    return os.environ | {_TERMINAL: f"/proc/{os.getpid()}/fd/{terminal.fileno()}"}


def log_line(line: str) -> None:
    """Print one line on the terminal, or in the log if this is not the first process."""
    tqdm.write(line, file=_terminal if _terminal and rank() == 0 else sys.stderr)


def write(text: str) -> None:
    """Print text on the terminal as it is, or in the log where there is none."""
    terminal = _terminal or sys.stderr
    terminal.write(text)
    terminal.flush()


def progress_bar(*, total: int | None, desc: str, unit: str) -> "tqdm[Any]":
    """Return a progress bar on the terminal, with the time left if the total is given."""
    terminal = _terminal or sys.stderr
    interactive = terminal.isatty()
    return tqdm(
        total=total,
        desc=desc,
        unit=f" {unit}",
        file=terminal,
        # A log of a batch job gets few lines of a fixed width.
        mininterval=0.5 if interactive else 20,
        dynamic_ncols=interactive,
        disable=rank() > 0,
        position=0,
    )


def peak_mib() -> int:
    """Return the peak memory of this process or of its largest child, in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, children) // 1024


def seconds_since_start() -> float:
    """Return how long this process has run, imports included; unaffected by the wall clock."""
    # proc(5): the 22nd field, in clock ticks since boot. The second may contain spaces.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 1)


def _attempt(label: str, log: Path, work: Callable[[], None], timed: bool) -> int:
    """Run ``work`` and write its timing; report a failure. Return the exit status."""
    try:
        work()
        if timed and rank() == 0:
            timing = {"seconds": seconds_since_start(), "peak_mib": peak_mib()}
            write_json(TIMINGS / f"{label}.json", timing)
    except (ValueError, OSError) as error:
        return _report_failure(label, error)
    except KeyboardInterrupt:
        log_line(f"{label}: interrupted")
        return 130
    except Exception as error:
        # The log may be on the disk that is full.
        with suppress(OSError), log.open("a", encoding="utf-8") as stream:
            traceback.print_exc(file=stream)
        # Libraries hide a full disk: torch.save raises "unexpected pos".
        cause = "the disk is full: " if shutil.disk_usage(Path()).free < _FULL else ""
        return _report_failure(label, f"{cause}{type(error).__name__}: {error}; see {log}")
    return 0


def _report_failure(label: str, message: object) -> int:
    """Print a failure in one line and return its exit status."""
    log_line(f"{label}: {' '.join(str(message).split())}")
    return 1


@contextmanager
def _redirect_output(log: Path) -> Iterator[Path]:
    """Send file descriptors 1 and 2 to a log; lines and bars still reach the terminal."""
    global _terminal
    log.parent.mkdir(parents=True, exist_ok=True)
    launcher = os.environ.get(_TERMINAL)
    terminal = os.open(launcher, os.O_WRONLY | os.O_APPEND) if launcher else os.dup(2)
    with log.open("wb") as stream, os.fdopen(terminal, "w", buffering=1) as _terminal:
        # Descriptors rather than sys.stdout, as C++ libraries write to them directly.
        sys.stdout.flush()
        stdout = os.dup(1)
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield log
        finally:
            with suppress(OSError):  # a full disk has no room for what is still buffered
                sys.stdout.flush()
                sys.stderr.flush()
            os.dup2(stdout, 1)
            os.dup2(terminal, 2)
            os.close(stdout)
            _terminal = None
