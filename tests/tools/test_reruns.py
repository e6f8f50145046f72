"""What an edit re-runs, as DVC says."""

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


def test_without_an_edit_nothing_runs(pipeline: Path) -> None:
    assert reruns(pipeline) == []


@pytest.mark.parametrize(
    ("edit", "stages"),
    [
        ("one more arm", {"weigh", "train@new", "figures"}),
        ("another training seed of one arm", {"weigh", "train@uniform", "figures"}),
        ("`train.tracking`, `train.save_every`", set()),
        (
            "one more benchmark",
            {"prepare", "evaluate", "follow_up", "analyze", "cross_check", "figures"},
        ),
        ("`sample.sequential`", {"resample"}),
        ("`figures.dpi`", {"figures"}),
        ("`engine.engines`", set()),
    ],
)
def test_a_parameter_runs_what_it_concerns(pipeline: Path, edit: str, stages: set[str]) -> None:
    with edited_parameters(pipeline, PARAMETERS[edit]):
        assert set(reruns(pipeline)) == ALWAYS | stages


@pytest.mark.parametrize(
    ("package", "stages"),
    [
        ("figures", ["figures"]),
        ("quantization", ["quantize"]),
        ("runtime", []),
        ("sft", ["train", "replay"]),
    ],
)
def test_a_package_runs_the_stages_that_reach_it(
    pipeline: Path, package: str, stages: list[str]
) -> None:
    with edited_package(pipeline, package):
        assert reruns(pipeline) == stages
