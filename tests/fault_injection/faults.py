"""Faults that are injected into a copy of a run, and undone.

A fault has three moments: ``prepare`` before the run, ``strike`` while it runs (it waits for
its moment and returns), ``undo`` after it. ``where`` says in words what was drawn, and
``environment`` what the processes of the run are to have around them.
"""

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.fault_injection.running import Moment, Run
from tests.mini import DVC, cached_files, environment

DAY_S = 86_400
ROOMY = "4g"
TOO_LATE = " (the run was over)"


@dataclass(frozen=True)
class Site:
    """Where a fault happens: a folder, and the stages that are still to run in it.

    They stand in their order, each with the seconds that it took undisturbed. ``inputs`` are
    the cached outputs of other stages that they read (MD5 by path), ``growth`` is how many
    bytes they write, ``clock`` the library that makes the clock jump.
    """

    folder: Path
    seconds: dict[str, float]
    inputs: dict[str, str]
    growth: int
    clock: Path


class Fault:
    """Base class of the faults; by itself it does nothing."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Draw what will happen; the folder of the site exists and is empty."""
        self.rng, self.site = rng, site
        self.where = ""
        self.environment: dict[str, str] = {}
        self.second: Run | None = None

    def prepare(self) -> None:
        """Prepare the copy in the folder."""

    def strike(self, run: Run) -> None:
        """Wait for the moment and act."""

    def undo(self) -> None:
        """Undo the fault."""

    def leave(self) -> None:
        """Release the folder."""


class Killed(Fault):
    """A signal to all processes of the run, or to the stage alone, as when memory runs out."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Draw what will happen."""
        super().__init__(rng, site)
        self.moment = Moment(rng, site.seconds)
        self.signal, self.alone = rng.choice(
            [
                (signal.SIGKILL, False),
                (signal.SIGTERM, False),
                (signal.SIGINT, False),
                (signal.SIGKILL, True),
            ]
        )
        whom = "stage" if self.alone else "all"
        self.where = f"{self.signal.name} to {whom} in {self.moment}"

    def strike(self, run: Run) -> None:
        """Send the signal."""
        if not self.moment.wait(run):
            self.where += TOO_LATE
            return
        if not self.alone:
            os.killpg(run.process.pid, self.signal)
            return
        for child in psutil.Process(run.process.pid).children(recursive=True):
            if "stages." in " ".join(child.cmdline()):
                child.send_signal(self.signal)
                return


class FullDisk(Fault):
    """A file system that is full somewhere between the run's start and its end."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Put a file system of its own under the folder."""
        super().__init__(rng, site)
        self.room = int(rng.uniform(0, site.growth))
        self.where = f"after {self.room >> 10} of {site.growth >> 10} KiB more"
        _mount("-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", site.folder)

    def prepare(self) -> None:
        """Leave the room that was drawn."""
        stats = os.statvfs(self.site.folder)
        used = (stats.f_blocks - stats.f_bfree) * stats.f_frsize
        _mount("-o", f"remount,size={(used + self.room) >> 10}k", self.site.folder)

    def undo(self) -> None:
        """Make room."""
        _mount("-o", f"remount,size={ROOMY}", self.site.folder)

    def leave(self) -> None:
        """Remove the file system."""
        subprocess.run(["umount", "-l", self.site.folder], check=True)


class ReadOnly(Fault):
    """A folder that nothing can be written to from some moment on."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Draw what will happen."""
        super().__init__(rng, site)
        self.moment = Moment(rng, site.seconds)
        self.name = rng.choice(["data", "reports", ".dvc/cache", "logs"])
        self.closed = site.folder / self.name
        self.where = f"{self.name} in {self.moment}"

    def prepare(self) -> None:
        """Make the folder a mount of its own, writable for now."""
        self.closed.mkdir(parents=True, exist_ok=True)
        _mount("--bind", self.closed, self.closed)

    def strike(self, run: Run) -> None:
        """Close the folder; the kernel refuses to while a file is open for writing."""
        if not self.moment.wait(run):
            self.where += TOO_LATE
        closing = ["mount", "-o", "remount,ro,bind", str(self.closed)]
        while (
            run.is_running and subprocess.run(closing, capture_output=True, check=False).returncode
        ):
            time.sleep(0.01)

    def undo(self) -> None:
        """Open the folder."""
        subprocess.run(["umount", "-l", self.closed], check=True)


class Damaged(Fault):
    """Flip one bit in a cached file."""

    def prepare(self) -> None:
        """Damage a file that a stage still to run reads."""
        self.out, oid = self.rng.choice(sorted(self.site.inputs.items()))
        name, stored = self.rng.choice(cached_files(self.site.folder, oid))
        self.file = f"{self.out}/{name}" if name else self.out
        self.stored, self.intact = stored, stored.read_bytes()
        bit = self.rng.randrange(len(self.intact) * 8)
        spoilt = bytearray(self.intact)
        spoilt[bit // 8] ^= 1 << bit % 8
        stored.write_bytes(spoilt)  # as root, whatever its mode, which stays
        self.where = f"{self.file}, bit {bit} of {len(spoilt) * 8}"
        self._check_out()

    def undo(self) -> None:
        """Put the right bytes back."""
        self.stored.write_bytes(self.intact)
        self._check_out()

    def _check_out(self) -> None:
        subprocess.run(["rm", "-rf", self.site.folder / self.out], check=True)
        checkout = [*DVC, "checkout", "--quiet", "--force", self.out]
        subprocess.run(
            checkout, cwd=self.site.folder, env=environment(self.site.folder), check=False
        )


class ClockJumps(Fault):
    """The wall clock jumps while the run runs, and files are older or newer than they are."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Draw what will happen."""
        super().__init__(rng, site)
        self.by = rng.choice([-400 * DAY_S, -3600, 3600, 30 * DAY_S])
        self.after = rng.uniform(0, sum(site.seconds.values()))
        self.files_by = rng.choice([0, -400 * DAY_S, 30 * DAY_S])
        self.where = f"{self.by:+d} s after {self.after:.1f} s; files {self.files_by:+d} s"

    def prepare(self) -> None:
        """Shift the times of about half of the files, and set when the clock will jump."""
        for path in sorted((self.site.folder / "data").rglob("*")):
            if self.files_by and path.is_file() and self.rng.random() < 0.5:
                when = path.stat().st_mtime + self.files_by
                os.utime(path, (when, when))
        self.environment = {
            "LD_PRELOAD": str(self.site.clock),
            "CLOCK_JUMPS_AT": str(int(time.time() + self.after)),
            "CLOCK_JUMPS_BY": str(self.by),
        }


class Twice(Fault):
    """A second ``dvc repro`` starts in the same folder while the first one runs."""

    def __init__(self, rng: random.Random, site: Site) -> None:
        """Draw what will happen."""
        super().__init__(rng, site)
        self.moment = Moment(rng, site.seconds)
        self.where = f"second in {self.moment}"

    def strike(self, run: Run) -> None:
        """Start the second."""
        if self.moment.wait(run):
            output = run.output_file.with_name("second.txt")
            self.second = Run(self.site.folder, output, self.environment)
        else:
            self.where += TOO_LATE


FAULTS: dict[str, type[Fault]] = {
    "killed": Killed,
    "full disk": FullDisk,
    "read-only": ReadOnly,
    "damaged cache": Damaged,
    "clock jumps": ClockJumps,
    "two at once": Twice,
}


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)
