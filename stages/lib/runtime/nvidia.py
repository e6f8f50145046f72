"""The GPUs that nvidia-smi lists. Standard library only: ``tools.lock`` runs before any package is
installed, and importing torch to count GPUs takes seconds.
"""

import os
import subprocess
from dataclasses import dataclass

MIN_DRIVER = 580
"""The oldest major version of the driver that runs CUDA 13 (its release notes, table 3)."""

_QUERY = (
    "nvidia-smi",
    "--query-gpu=driver_version,memory.total",
    "--format=csv,noheader,nounits",
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's driver and memory; ``memory_gib`` is None where it shares the host's memory."""

    driver: str
    memory_gib: float | None

    def has_old_driver(self) -> bool:
        """Return whether the driver is older than what CUDA 13 needs."""
        return int(self.driver.partition(".")[0]) < MIN_DRIVER


def list_gpus() -> list[Gpu]:
    """Return all GPUs of this machine; none where nvidia-smi is missing or fails."""
    try:
        completed = subprocess.run(_QUERY, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    # Without a GPU it fails, or prints a sentence in place of the values.
    rows = [line.split(",") for line in completed.stdout.splitlines()]
    if completed.returncode or not all(len(row) == 2 and row[0][:1].isdecimal() for row in rows):
        return []
    return [Gpu(driver.strip(), _gib(memory)) for driver, memory in rows]


def visible_gpus() -> list[Gpu]:
    """Return as many GPUs as CUDA_VISIBLE_DEVICES lets a process use; those of a node are alike."""
    gpus = list_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",")]
    hidden = [position for position, name in enumerate(names) if name in ("", "-1")]
    return gpus[: hidden[0] if hidden else len(names)]


def _gib(mebibytes: str) -> float | None:
    text = mebibytes.strip()
    return int(text) / 1024 if text.isdecimal() else None
