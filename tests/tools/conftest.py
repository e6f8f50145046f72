"""Fixtures that commands share with stages, and the readers of what they export."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stages.conftest import change, prepared, with_problems

__all__ = ["change", "prepared", "with_problems"]

HARNESS = Path(__file__).parents[2] / ".venv-harness"


@pytest.fixture
def read_back() -> Callable[[str], list[Any]]:
    """Return a function that runs code beside lm-evaluation-harness and Inspect.

    It returns the lines that the code prints, read as JSON. Skips where they are not installed.
    """
    if not (HARNESS / "ready").exists():
        pytest.skip("needs what `make harness` installs")

    def run(code: str) -> list[Any]:
        process = subprocess.run(
            [HARNESS / "bin/python", "-c", code], stdout=subprocess.PIPE, text=True, check=True
        )
        return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("[")]

    return run
