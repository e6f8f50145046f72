"""Compositions: as DVC makes them, and mistakes in one line."""

from pathlib import Path

import pytest
import yaml

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose


def test_the_default_composes_to_the_committed_parameters() -> None:
    assert compose([], CONF) == yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def test_recipe_size_and_values_are_chosen() -> None:
    commit = "0123456789" * 4
    base = f"hub:EleutherAI/llemma_7b@{commit}"
    overrides = ["recipe=grpo", "size=mini", "train.steps=3", f"model.base={base}"]
    found = compose(overrides, CONF)
    assert list(found["grpo"]["models"]) == ["uniform-grpo"]
    assert (found["train"]["steps"], found["model"]["base"]) == (3, base)


WRONG = [
    (["recipe=nope"], "overrides: recipe: 'nope': expected one of ['"),
    (["size=huge"], "overrides: size: 'huge': expected one of ['full', 'mini']"),
    (["train.stpes=3"], "overrides: Could not override 'train.stpes'."),
    (["train.steps"], "overrides: Error parsing override 'train.steps'"),
    (["train.steps=1,2"], "overrides: Ambiguous value for argument 'train.steps=1,2'"),
    (["model.base=${nope}"], "model.base: Interpolation key 'nope' not found"),
    (["model.base=???"], "model.base: Missing mandatory value"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG)
def test_a_bad_override_is_named_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        compose(overrides, CONF)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_yaml_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("train: [")
    with pytest.raises(ValueError, match="not YAML") as error:
        compose([], tmp_path)
    assert "\n" not in str(error.value)
