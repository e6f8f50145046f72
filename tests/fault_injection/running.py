"""A ``dvc repro`` in the background, and a random moment in it."""

import random
import subprocess
import time
from pathlib import Path

from tests.mini import DVC, environment


class Run:
    """One ``dvc repro`` and its output."""

    def __init__(self, folder: Path, output: Path, extra: dict[str, str]) -> None:
        """Start it in a session of its own, with ``extra`` in its environment."""
        self.output_file = output
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [*DVC, "repro"],
                cwd=folder,
                env=environment(folder) | extra,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Return whether it still runs."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """Return what it has printed so far."""
        return self.output_file.read_text(encoding="utf-8", errors="replace")


class Moment:
    """A stage, and a number of seconds after it began."""

    def __init__(self, rng: random.Random, seconds: dict[str, float]) -> None:
        """Draw one of the stages, and a time until its usual end."""
        self.stage = rng.choice(list(seconds))
        self.after = rng.uniform(0, seconds[self.stage])

    def __str__(self) -> str:
        """Name the moment."""
        return f"{self.stage} + {self.after:.1f} s"

    def wait(self, run: Run) -> bool:
        """Wait for the moment; return whether the run still runs then."""
        while run.is_running and f"Running stage '{self.stage}'" not in run.output:
            time.sleep(0.05)
        until = time.monotonic() + self.after
        while run.is_running and time.monotonic() < until:
            time.sleep(0.05)
        return run.is_running
