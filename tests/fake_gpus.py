"""Stand-ins for GPUs: nvidia-smi on PATH, and what torch counts."""

from pathlib import Path

import pytest
import torch


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


def count_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let torch count GPUs, and use none: its build for CUDA would look for the first."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
