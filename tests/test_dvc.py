"""What dvc.yaml declares is what the stages use, and no more."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from stages.lib.core.paths import EVAL_PROBLEMS
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from tests.conftest import REPOSITORY
from tests.imports import reached
from tests.pipeline import PIPELINE, SCRIPTS, declared

# They change no result: declarations (values are tracked), and what only runs the work.
NO_DEPENDENCY = {"params", "runtime"}
# Stages that run a model, and those whose outputs an evaluation may not have influenced.
MODELS = {"fetch", "merge", "sample", "train", "replay", "grpo", "quantize", "round"}
MODELS |= {"evaluate", "follow_up", "likelihood"}
CHOOSING = MODELS - {"evaluate", "follow_up", "likelihood"} | {"resample", "score", "weigh"}
# Packages that a stage may never come to reach, since it would run again for nothing.
MUST_NOT_REACH = {
    "a plot or the page": ({"figures", "report"}, MODELS),
    "grading": ({"grading", "sandbox"}, MODELS - {"grpo", "follow_up"}),
    "the training plan": ({"sft"}, MODELS - {"train", "replay"}),
    "the ladder's texts": ({"data", "formats"}, MODELS),
}


def test_the_scripts_are_the_stages() -> None:
    assert sorted(PIPELINE) == SCRIPTS


@pytest.mark.parametrize("stage", SCRIPTS)
def test_a_stage_runs_as_its_own_module(stage: str) -> None:
    assert declared(stage)["cmd"].removesuffix(" ${key}") == f"python -m stages.{stage}"


@pytest.mark.parametrize("stage", SCRIPTS)
def test_a_stage_depends_on_the_packages_that_it_reaches(stage: str) -> None:
    code = {dep for dep in declared(stage)["deps"] if dep.startswith("stages/")}
    left_out = NO_DEPENDENCY - ({"params"} if stage == "check" else set())
    packages = reached(Path("stages", f"{stage}.py")) - left_out
    assert code == {f"stages/{stage}.py", *(f"stages/lib/{name}" for name in packages)}


@pytest.mark.parametrize("edit", MUST_NOT_REACH)
def test_an_edit_must_not_run_what_it_cannot_change(edit: str) -> None:
    packages, stages = MUST_NOT_REACH[edit]
    for stage in stages:
        assert not reached(Path("stages", f"{stage}.py")) & packages, stage


@pytest.mark.parametrize("stage", sorted(set(SCRIPTS) - {"check"}))
def test_the_schema_of_one_group_runs_no_stage_of_another(stage: str) -> None:
    assert "stages/lib/params" not in declared(stage)["deps"]


@pytest.mark.parametrize("stage", sorted(CHOOSING))
def test_what_comes_before_an_evaluation_cannot_read_its_problems(stage: str) -> None:
    assert not [dep for dep in declared(stage)["deps"] if Path(dep).is_relative_to(EVAL_PROBLEMS)]
    # Nor a folder that they lie in.
    assert not {str(parent) for parent in EVAL_PROBLEMS.parents} & set(declared(stage)["deps"])


@pytest.mark.parametrize("stage", SCRIPTS)
def test_a_stage_that_writes_prompts_depends_on_their_templates(stage: str) -> None:
    found = declared(stage)
    assert ("prompts" in found.get("params", [])) == ("conf/prompts" in found["deps"])


def test_the_pipeline_stays_short() -> None:
    assert len(Path("dvc.yaml").read_text(encoding="utf-8").splitlines()) < 390


def test_the_registry_has_the_models_of_the_default_run() -> None:
    artifacts = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["artifacts"]
    assert list(artifacts) == list(load_params(REPOSITORY / "params.yaml").evaluate.models)
    assert {name: entry["path"] for name, entry in artifacts.items()} == {
        name: f"data/models/{name}" for name in artifacts
    }


@pytest.mark.parametrize("stage", SCRIPTS)
def test_tracked_parameters_exist(stage: str) -> None:
    for path in declared(stage).get("params", []):
        group, *fields = path.split(".")
        assert group in Params.model_fields
        annotation = Params.model_fields[group].annotation
        assert not fields or fields[0] in annotation.model_fields  # type: ignore[union-attr]


def test_the_default_recipe_composes_to_the_committed_parameters(tmp_path: Path) -> None:
    composed = tmp_path / "params.yaml"
    compose_and_dump(str(composed), str(Path("conf").resolve()), None, "config", "", [])
    assert composed.read_text() == Path("params.yaml").read_text()
