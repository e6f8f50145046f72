"""Compositions are those of DVC; mistakes are named in one line."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose

COMMIT = "0123456789" * 4


def test_recipe_size_and_values_are_composed_as_by_dvc(tmp_path: Path) -> None:
    base = f"hub:EleutherAI/llemma_7b@{COMMIT}"
    overrides = ["recipe=grpo", "size=mini", "train.steps=3", f"model.base={base}"]
    params = compose(overrides, CONF)
    assert list(params["grpo"]["models"]) == ["uniform-grpo"]
    assert (params["train"]["steps"], params["model"]["base"]) == (3, base)
    path = tmp_path / "params.yaml"
    compose_and_dump(str(path), str(CONF.resolve()), None, "config", "", overrides)
    assert params == yaml.safe_load(path.read_text(encoding="utf-8"))


WRONG = [
    (["recipe=nope"], "overrides: recipe: 'nope': expected one of ['"),
    (["size=huge"], "overrides: size: 'huge': expected one of ['full', 'mini']"),
    (["recip=grpo"], "recip: unknown key; did you mean recipe?"),
    (["train.stepz=3"], "train.stepz: unknown key; did you mean train.steps?"),
    (["trian.steps=3"], "trian: unknown key; did you mean train?"),
    (["train.lr=3"], "train.lr: unknown key"),
    (
        ["recipe=grpo", "grpo.models.uniform-grp.seed=3"],
        "grpo.models.uniform-grp: unknown key; did you mean grpo.models.uniform-grpo?",
    ),
    (["~train.stepz"], "train.stepz: unknown key; did you mean train.steps?"),
    (["train.steps"], "overrides: 'train.steps': expected KEY=VALUE"),
    (["train.steps=1,2"], "train.steps: 1,2: expected one value or a [list]"),
    (
        ["prepare.train={source: file, path: x}"],
        "prepare.train: {source: file, path: x}: expected a list",
    ),
    (["prepare.benchmarks=[1]"], "prepare.benchmarks: [1]: expected a mapping"),
    (["model.base=${nope}"], "model.base: ${nope}: expected a key that exists"),
    (["model.base=???"], "model.base: ???: expected a value"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG)
def test_a_bad_override_is_named_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        compose(overrides, CONF)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: [")
    with pytest.raises(ValueError, match="not YAML") as error:
        compose([], tmp_path)
    assert "\n" not in str(error.value)
