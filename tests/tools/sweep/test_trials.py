"""What is said of a trial that failed; the rest is tested with the command."""

import pytest

from tools.sweep.trials import reason

FAILED = "ERROR: failed to reproduce 'train@a': failed to run: python -m x, exited with 1"
REASONS = [
    (["Running stage 'train@a':", "> python -m x", "train-a: ValueError: no", FAILED], "train-a: "),
    (
        ["Running stage 'train@a':", "> python -m x", FAILED],
        "failed to reproduce 'train@a': failed",
    ),
    (["", "ERROR: stage: 'x' not found"], "stage: 'x' not found"),
    ([], "no reason was given"),
]


@pytest.mark.parametrize(("said", "message"), REASONS)
def test_the_line_of_the_stage_is_kept_or_that_of_dvc(said: list[str], message: str) -> None:
    assert reason([f"{line}\n" for line in said]).startswith(message)
