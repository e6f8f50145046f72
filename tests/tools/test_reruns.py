"""What an edit re-runs, as DVC says."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.reruns import PARAMETERS, copy_pipeline, edited_package, edited_parameters, reruns

# They read params.yaml whole, and take seconds.
ALWAYS = {"check", "card", "paper"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    copy_pipeline(Path(), folder)
    return folder


# Edits are made together where what they run can be told apart: DVC takes seconds to say it.
@pytest.mark.parametrize(
    ("edits", "stages"),
    [
        (["`train.tracking`, `train.save_every`", "`engine.engines`"], set()),
        (
            ["one more arm", "another training seed of one arm"],
            {"weigh", "train@new", "train@uniform", "figures"},
        ),
        (
            ["one more benchmark", "`sample.sequential`", "`figures.dpi`"],
            {"prepare", "evaluate", "follow_up", "analyze", "figures", "resample"},
        ),
    ],
)
def test_a_parameter_runs_what_it_concerns(
    pipeline: Path, edits: list[str], stages: set[str]
) -> None:
    values = {key: value for edit in edits for key, value in PARAMETERS[edit].items()}
    with edited_parameters(pipeline, values):
        assert set(reruns(pipeline)) == ALWAYS | stages


def test_a_package_runs_the_stages_that_reach_it(pipeline: Path) -> None:
    with ExitStack() as edits:
        for package in ("figures", "quantization", "runtime", "sft"):
            edits.enter_context(edited_package(pipeline, package))
        assert set(reruns(pipeline)) == {"figures", "quantize", "train", "replay"}
