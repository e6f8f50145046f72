"""Stages that may have nothing to do: then they write an empty store, and load no library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.lib.core.paths import FOLLOW_UPS, RESAMPLES
from tests.conftest import REPOSITORY
from tests.stages.conftest import Change

RUN = """
import sys
from stages import {stage}
{stage}.main({arguments})
print(*sorted({{"torch", "transformers", "vllm"}} & set(sys.modules)))
"""
WITHOUT_OPTIONS = {
    "prepare.benchmarks": {"ladder": {"source": "ladder", "per_rung": 2, "part": "test"}},
    "evaluate.max_tokens": {"ladder": 16},
}


@pytest.mark.parametrize(
    ("stage", "arguments", "changes", "folder"),
    [
        ("resample", "", {"sample.sequential": None}, RESAMPLES),
        ("follow_up", '"base"', WITHOUT_OPTIONS, FOLLOW_UPS / "base"),
    ],
)
def test_an_empty_store_is_written_at_once(
    with_problems: Change, stage: str, arguments: str, changes: dict[str, object], folder: Path
) -> None:
    with_problems(changes)
    completed = subprocess.run(
        [sys.executable, "-c", RUN.format(stage=stage, arguments=arguments)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (completed.returncode, completed.stdout) == (0, "\n"), completed.stderr
    assert list(folder.iterdir()) == []
