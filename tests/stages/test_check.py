"""The check of the parameters, and of a composition that is not run."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from stages import check
from stages.lib.core.paths import CONF, PARAMS_OK
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from tests.conftest import REPOSITORY

COMMIT = "0123456789" * 4
CHECK = [sys.executable, "-m", "stages.check"]


def part(name: str, target: str, kind: str = "gsm8k") -> dict[str, Any]:
    """Return a part of the training data, written here in the format of a data set."""
    return {
        "source": "rows",
        "name": name,
        "format": kind,
        "path": "ladder:3",
        "license": "Apache-2.0",
        "fraction": 1.0,
        "exclude": [],
        "target": target,
    }


def talk(*sources: str) -> dict[str, Any]:
    return {"strategy": "conversations", "sources": list(sources)}


def set_in(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for path, value in changes.items():
        *groups, last = path.split(".")
        group = raw
        for name in groups:
            group = group[name]
        group[last] = deepcopy(value)
    return raw


UNIFORM = {"uniform": {"strategy": "uniform"}}
TALK = {
    "prepare.train": [part("a", "conversations"), part("b", "problems")],
    "weigh.arms": UNIFORM | {"talk": talk("a")},
    "sample.k": 0,
    "prepare.demonstrations": 0,
    "quantize.models": {},
    "evaluate.models": {"base": [0], "talk": [0]},
    "analyze.compare": [["talk", "base"]],
}
GPTQ = {
    "parent": "uniform",
    "method": "gptq",
    "bits": 4,
    "calibration_seed": 1,
    "calibrate_on": "difficulty",
}
MEASURED = {"sample.k": 2, "prepare.demonstrations": 4}
GRPO = {"parent": "base", "seed": 1, "tuning": {"method": "full"}, "zero_variance_weight": 1.0}
FOCAL = {"strategy": "focal", "gamma": 2.0, "level": "token"}
CONTROL = {"strategy": "control"}

RIGHT = [
    {},
    TALK,
    TALK | {"weigh.arms": UNIFORM | {"talk": talk("a"), "c": CONTROL | {"control_of": "uniform"}}},
    TALK | {"weigh.arms": {"f": FOCAL, "talk": talk("a"), "c": CONTROL | {"control_of": "f"}}},
    TALK | {"weigh.arms": {"talk": talk("a")}, "prepare.train": [part("a", "conversations")]},
    TALK | {"grpo.models": {"grpo": GRPO}},
    TALK | {"quantize.models": {"q": GPTQ | {"parent": "talk", "calibrate_on": "training"}}},
    TALK | MEASURED | {"quantize.models": {"q": GPTQ}},
    {"evaluate.models": {"base": [0], "uniform": [0]}, "analyze.compare": [["uniform", "base"]]},
]

WRONG = [
    (
        {"evaluate.models": {"base": [0], "uniform": [0], "adaptive-gptq4": [0]}},
        "evaluate.models: adaptive-gptq4: expected its parent adaptive to be evaluated too",
    ),
    (
        {"evaluate.models.adaptive-gptq4": [1]},
        "evaluate.models.adaptive-gptq4: [1]: expected to begin with as many examples as its "
        "parent's, [0]",
    ),
    (
        TALK | {"prepare.train": [part("a", "problems"), part("a", "conversations")]},
        "prepare.train: ['a', 'a']: expected each name once",
    ),
    (
        TALK | {"prepare.train": [part("a", "problems", "sharegpt")]},
        "prepare.train: a: become: 'problems': expected 'conversations' of format sharegpt",
    ),
    (
        TALK | {"weigh.arms": {"talk": talk("b", "nobody", "a")}},
        "weigh.arms.talk.sources: ['b', 'nobody']: expected parts of prepare.train that become "
        "conversations: ['a']",
    ),
    (
        TALK | {"prepare.train": [part("a", "conversations")]},
        "weigh.arms.uniform: 'uniform': expected a part of prepare.train that gives problems",
    ),
    (
        TALK | {"weigh.arms": {"talk": talk("a"), "c": CONTROL | {"control_of": "talk"}}},
        "weigh.arms.c.control_of: expected an arm that learns problems",
    ),
    (
        TALK
        | {
            "prepare.train": [part("a", "conversations")],
            "weigh.arms": {"talk": talk("a")},
            "grpo.models": {"grpo": GRPO},
        },
        "grpo.models: ['grpo']: expected a part of prepare.train that gives problems",
    ),
    (
        TALK | {"weigh.arms.hard": {"strategy": "band", "low": 0.0, "high": 0.5}},
        "weigh.arms.hard: 'band': expected sample.k above 0, as the arm needs difficulty",
    ),
    (
        {"sample.k": 0, "weigh.arms.adaptive": {"strategy": "repeat", "base": 1, "factor": 1}},
        "weigh.arms.adaptive: 'repeat': expected sample.k above 0",
    ),
    (
        TALK | {"quantize.models": {"q": GPTQ}},
        "quantize.models.q.calibrate_on: 'difficulty': expected sample.k above 0",
    ),
    (
        TALK | MEASURED | {"quantize.models": {"q": GPTQ | {"parent": "talk"}}},
        "quantize.models.q.calibrate_on: 'difficulty': expected 'training' or 'text' for an arm "
        "of conversations",
    ),
    (
        TALK | {"sample.sequential": {"width": 0.1, "interval": 0.9, "most": 16}},
        "sample.sequential: expected null where sample.k is 0",
    ),
    (
        TALK | {"evaluate.models": {"base": [0, 2], "talk": [0]}},
        "evaluate.models.base: 2: expected at most prepare.demonstrations=0",
    ),
    ({"sample.shots": 5}, "sample.shots: 5: expected at most prepare.demonstrations=4"),
]


@pytest.mark.parametrize("changes", RIGHT)
def test_what_fits_together_is_accepted(changes: dict[str, Any]) -> None:
    parse_params(set_in(compose([], CONF), dict(changes)), where="test")


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_params(set_in(compose([], CONF), changes), where="test")
    assert str(error.value).startswith(f"test: {message}")
    assert "\n" not in str(error.value)


def test_the_stage_checks_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Path("params.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(committed.replace("steps: 14", "stpes: 14"))
    with pytest.raises(ValueError, match=r"params.yaml: train.stpes: unknown"):
        check.main()
    assert not PARAMS_OK.exists()
    Path("params.yaml").write_text(committed)
    check.main()
    assert PARAMS_OK.read_text() == "valid\n"


def test_the_stage_needs_no_torch() -> None:
    said = "import sys, stages.check; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("recipe", sorted(path.stem for path in Path("conf/recipe").glob("*.yaml")))
def test_recipes_as_small_as_this_machine_are_shown(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check.estimate([f"recipe={recipe}", "size=mini"], 80)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:2] == ["stage", "item"]
    assert "- 134,515,008 parameters; stages/lib/costs.py has the formulas" in shown


def test_a_model_that_does_not_fit_is_refused_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    overrides = ["recipe=ladder", f"model.base=hub:EleutherAI/llemma_7b@{COMMIT}"]
    with pytest.raises(ValueError, match=r"train uniform: 125.5 GiB of a GPU: expected at most 80"):
        check.estimate(overrides, 80)
    shown = capsys.readouterr().out
    assert "llama2" in shown
    assert f"hf download EleutherAI/llemma_7b --revision {COMMIT}" in shown
    check.estimate(overrides, 192)
    launch = "train.launch={strategy: zero1, processes: 8}"
    check.estimate([*overrides, launch, "train.micro_batches=8"], 80)
    assert "GiB of each of 8 GPUs (zero1)" in capsys.readouterr().out


def test_a_gated_model_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("stages.lib.costs.table.get_token", lambda: None)
    check.estimate(["recipe=ladder", f"model.base=hub:google/gemma-2b@{COMMIT}"], 80)
    assert "accept its terms at https://huggingface.co/google/gemma-2b" in capsys.readouterr().out


def test_a_model_of_unknown_size_has_no_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    check.estimate(["recipe=ladder", f"model.base=hub:someone/model@{COMMIT}"], 80)
    shown = capsys.readouterr().out
    assert shown.startswith("source ")
    assert "model.base: someone/model: its size is unknown" in shown


EXITS = [
    (["recipe=nope"], 1, "check: overrides: recipe: 'nope': expected one of ["),
    (["recipe=ladder", "train.steps=x"], 1, "check: recipe=ladder train.steps=x: train.steps: 'x'"),
    (["recipe=ladder", "--gpu-gib", "4"], 1, "check: train uniform: 4.1 GiB of a GPU: expected"),
    (["recipe=ladder", "size=mini"], 0, ""),
]


@pytest.mark.parametrize(("arguments", "status", "message"), EXITS)
def test_the_command_ends_in_one_line(arguments: list[str], status: int, message: str) -> None:
    done = subprocess.run(
        [*CHECK, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == (1 if message else 0)
