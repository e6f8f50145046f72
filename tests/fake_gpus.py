"""A stand-in for nvidia-smi on PATH."""

from pathlib import Path

import pytest


def fake_gpus(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *drivers: str, memory: str = "81559"
) -> None:
    """Put an nvidia-smi on PATH that lists a GPU for each driver; without one it fails."""
    rows = "".join(f"{driver}, {memory}\\n" for driver in drivers)
    ending = f"printf '{rows}'" if drivers else "echo No devices were found; exit 6"
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{ending}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
