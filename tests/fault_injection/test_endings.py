"""Which line of a run's output says clearly why it stopped."""

import pytest

from tests.fault_injection.endings import clear_line

FAILED = "ERROR: failed to reproduce 'paper': failed to run: python -m stages.paper, exited with"
KILLED = f"{FAILED} -9"
BUSY = "ERROR: Unable to acquire lock. Most likely another DVC process is running."


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (f"paper: No space left\n{FAILED} 1\n", "paper: No space left"),
        (
            f"train-adaptive: data/x: no such table\n{FAILED} 1\n",
            "train-adaptive: data/x: no such table",
        ),
        (f"{FAILED} 1\n", ""),
        (f"sample:  50%|#####     | 1/2\r{FAILED} 1\n", ""),
        (f"{KILLED}\n", KILLED),
        (BUSY, BUSY),
        (f"Traceback (most recent call last):\n  x\nOSError: 28\n{FAILED} 1\n", ""),
        ("", ""),
    ],
)
def test_the_line_that_says_why(output: str, line: str) -> None:
    assert clear_line(output) == line
