"""Stages that may have nothing to do: then they write an empty store, and load no library."""

import os
import subprocess
import sys

from stages.lib.core.paths import FOLLOW_UPS, RESAMPLES
from tests.conftest import REPOSITORY
from tests.stages.conftest import Change

RUN = """
import sys
from stages import follow_up, resample
resample.main()
follow_up.main("base")
print(*sorted({"torch", "transformers", "vllm"} & set(sys.modules)))
"""
CHANGES = {
    "sample.sequential": None,
    # A benchmark without options.
    "prepare.benchmarks": {"ladder": {"source": "ladder", "per_rung": 2, "part": "test"}},
    "evaluate.max_tokens": {"ladder": 16},
}


def test_an_empty_store_is_written_at_once(with_problems: Change) -> None:
    with_problems(CHANGES)
    completed = subprocess.run(
        [sys.executable, "-c", RUN],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (completed.returncode, completed.stdout) == (0, "\n"), completed.stderr
    for folder in (RESAMPLES, FOLLOW_UPS / "base"):
        assert list(folder.iterdir()) == []
