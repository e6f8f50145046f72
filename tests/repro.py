"""A ``dvc repro`` that runs while others look on, and a moment in it."""

import random
import subprocess
import time
from pathlib import Path

from tests.small import DVC, environment


class Run:
    """One ``dvc repro``, and what it says."""

    def __init__(self, folder: Path, said: Path, more: dict[str, str]) -> None:
        """Start it in a session of its own, with ``more`` in its environment."""
        self.said_in = said
        with said.open("wb") as stream:
            self.process = subprocess.Popen(
                [*DVC, "repro"],
                cwd=folder,
                env=environment(folder) | more,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def goes_on(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """Return what it has said so far."""
        return self.said_in.read_text(encoding="utf-8", errors="replace")


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
        """Return at the moment whether the run still goes on; it may end before."""
        while run.goes_on and f"Running stage '{self.stage}'" not in run.said:
            time.sleep(0.05)
        until = time.monotonic() + self.after
        while run.goes_on and time.monotonic() < until:
            time.sleep(0.05)
        return run.goes_on
