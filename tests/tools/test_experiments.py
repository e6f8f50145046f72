"""Why a run of DVC failed."""

import pytest

from tools.experiments import failure_reason

FAILED = "ERROR: failed to reproduce 'train@a': failed to run: python -m x, exited with 1"
START = ["Running stage 'train@a':", "> python -m x"]
REASONS = [
    ([*START, "train-a: ValueError: no", FAILED], "train-a: ValueError: no"),
    ([*START, FAILED], FAILED.removeprefix("ERROR: ")),
    ([*START, "ERROR: 'x' is busy:", "(PID 7)"], "'x' is busy: (PID 7)"),
    (["", "ERROR: stage: 'x' not found"], "stage: 'x' not found"),
    ([], "DVC gave no reason"),
]


@pytest.mark.parametrize(("output", "reason"), REASONS)
def test_the_reason_is_the_last_line_of_the_stage_or_the_error_of_dvc(
    output: list[str], reason: str
) -> None:
    assert failure_reason([f"{line}\n" for line in output]) == reason
