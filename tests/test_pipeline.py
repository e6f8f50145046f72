"""What dvc.yaml declares is what the stages use."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import compose_and_dump

from stages.lib.params import training
from stages.lib.params.load import load_params, parse_params


@pytest.mark.parametrize("recipe", sorted(path.stem for path in Path("conf/recipe").glob("*.yaml")))
def test_every_recipe_composes_to_valid_parameters(tmp_path: Path, recipe: str) -> None:
    composed = tmp_path / "params.yaml"
    conf = str(Path("conf").resolve())
    compose_and_dump(str(composed), conf, None, "config", "", [f"recipe={recipe}"])
    load_params(composed)


SEQUENTIAL = {"width": 0.1, "interval": 0.9, "most": 16}
FULL = {"method": "full"}
LORA = {"method": "lora", "r": 4, "alpha": 8, "targets": ["q_proj"], "optimizer": "adamw"}


def grpo(**changes: Any) -> dict[str, Any]:
    made = {"parent": "uniform", "seed": 1, "tuning": FULL, "zero_variance_weight": 0.2}
    return {"grpo": made | changes}


ROWS = {
    "source": "rows",
    "name": "mini",
    "format": "gsm8k",
    "path": "ladder:3",
    "license": "Apache-2.0",
    "fraction": 1.0,
    "exclude": [],
    "target": "problems",
}
BAND = {"strategy": "band", "low": 0.25, "high": 0.75}
BAD = [
    ("weigh.arms.adaptive.factor", -1, "weigh.arms.adaptive.factor: -1: "),
    ("train.stpes", 3, "train.stpes: unknown"),
    ("trian", {}, "trian: unknown"),
    ("sample.prompting", ["pot"], "sample.prompting: ['pot']: expected cot, which difficulty"),
    ("sample.prompting", ["cot", "cot"], "sample.prompting: ['cot', 'cot']: expected cot, which"),
    (
        "train.tuning.method",
        "lroa",
        "train.tuning.method: 'lroa': expected 'full', 'lora', 'qlora'",
    ),
    ("train.tuning.method", "lora", "train.tuning.r: missing"),
    ("train.tuning.r", 8, "train.tuning.r: unknown"),
    ("train.keep", "best", "train.keep: 'best': expected train.evaluate_every, or 'last'"),
    ("train.evaluate_every", 2, "train.evaluate_every: 2: expected train.validation above 0"),
    (
        "train.launch",
        {"strategy": "ddp", "processes": 2},
        "train.micro_batches: 1: expected a multiple of launch.processes=2",
    ),
    ("train.tracking", ["tensorbord"], "train.tracking.0: 'tensorbord': Input should be "),
    ("train.tracking", ["wandb", "wandb"], "train.tracking: ['wandb', 'wandb']: expected nothing"),
    (
        "train.tuning_by_arm.nobody",
        {"method": "full"},
        "train.tuning_by_arm.nobody: expected one of ['adapt",
    ),
    ("weigh.seeds", {"adaptive": 2}, "weigh.seeds.adaptive: expected a control, one of ['control"),
    ("train.seeds.nobody", 2, "train.seeds.nobody: expected one of ['adapt"),
    ("analyze.runs", {"base": ["base"] * 2}, "analyze.runs.base: ['base', 'base']: List should"),
    ("analyze.runs", {"base": ["bass"] * 3}, "analyze.runs.base: 'bass': expected one of ['base'"),
    (
        "analyze.runs",
        {"base": ["base"] * 3, "uniform": ["uniform"] * 4},
        "analyze.runs.uniform: 4 runs: expected 3, as the first has",
    ),
    ("sample.k", None, "sample.k: missing"),
    ("sample.k", "4", "sample.k: '4': "),
    ("sample.sequential", SEQUENTIAL | {"most": 4}, "sample.sequential.most: 4: expected more th"),
    ("sample.sequential", SEQUENTIAL | {"width": 1.0}, "sample.sequential.width: 1.0: "),
    ("sample.sequential", SEQUENTIAL | {"round": 2}, "sample.sequential.round: unknown"),
    ("sample.sequential", {"width": 0.1}, "sample.sequential.interval: missing"),
    ("sample.temperature", 0.0, "sample.temperature: 0.0: "),
    ("prepare.train", [{"source": "ladder", "per_rung": 3.5}], "prepare.train.0.per_rung: 3.5: "),
    ("prepare.train", [ROWS | {"path": "ladder:0"}], "path: 'ladder:0': expected ladder:N, N"),
    ("prepare.train", [ROWS | {"path": "ladder-bare:many"}], "expected ladder-bare:N, N problems"),
    ("prepare.train", [ROWS | {"license": ""}], "prepare.train.0.license: '': "),
    (
        "weigh.arms.control.control_of",
        "adaptve",
        "weigh.arms.control.control_of: 'adaptve': expected an arm",
    ),
    ("weigh.arms.uniform.strategy", "unifrm", "weigh.arms.uniform.strategy: 'unifrm': expected "),
    ("weigh.arms.uniform", BAND | {"high": 0.1}, "uniform.high: 0.1: expected at least low=0.25"),
    ("weigh.arms.uniform", BAND | {"low": -0.1}, "weigh.arms.uniform.low: -0.1: "),
    (
        "weigh.arms.uniform",
        {"strategy": "curriculum", "pace": 0.0},
        "weigh.arms.uniform.pace: 0.0: ",
    ),
    (
        "weigh.arms.uniform",
        {"strategy": "dart_uniform", "per_problem": 0},
        "weigh.arms.uniform.per_problem: 0: ",
    ),
    (
        "weigh.arms.uniform",
        {"strategy": "focal", "gamma": 2.0, "level": "word"},
        "weigh.arms.uniform.level: 'word': ",
    ),
    (
        "grpo.models",
        grpo(parent="grpo"),
        "grpo.models.grpo.parent: 'grpo': expected one of ['adaptive', 'base', 'control', ",
    ),
    (
        "grpo.models",
        grpo(zero_variance_weight=1.5),
        "grpo.models.grpo.zero_variance_weight: 1.5: ",
    ),
    (
        "grpo.models",
        grpo(tuning=LORA | {"dropout": 0.1}),
        "grpo.models.grpo.tuning.dropout: 0.1: expected 0.0, as the model that is trained",
    ),
    (
        "grpo.models",
        {"base": grpo()["grpo"]},
        "grpo.models.base: expected a name that is",
    ),
    ("grpo.models", {"uniform": grpo()["grpo"]}, "grpo.models.uniform: expected a name "),
    ("grpo.generations", 1, "grpo.generations: 1: "),
    ("grpo.iterations", 3, "grpo.steps: 20: expected a multiple of iterations: 3"),
    ("grpo.save_every", 0, "grpo.save_every: 0: "),
    ("grpo.micro_batches", 7, "grpo.micro_batches: 7: expected a divisor of the "),
    ("grpo.rewards", {"answer": 0.0, "format": 0.0}, "rewards.answer and format: both 0: "),
    ("grpo.beta", 0.0, "grpo.beta: 0.0: "),
    ("quantize.models.adaptive-gptq4.bits", 5, "quantize.models.adaptive-gptq4.bits: 5: "),
    ("quantize.models.adaptive-gptq4.parent", "x", "quantize.models.adaptive-gptq4.parent: 'x': "),
    ("evaluate.models.nobody", [0], "evaluate.models.nobody: expected one of "),
    ("evaluate.max_tokens.aqua", 9, "evaluate.max_tokens: ['aqua', "),
    ("evaluate.held_out", "aqua", "evaluate.held_out: 'aqua': expected one of "),
    ("analyze.compare", [["adaptive", "x"]], "analyze.compare: 'x': expected one of "),
    ("analyze.compare", [["adaptive"]], "analyze.compare.0: "),
    ("demo.port", 65536, "demo.port: 65536: "),
    ("demo.models_in_memory", 1, "demo.models_in_memory: 1: "),
    ("model.base", "smollm", "model.base: 'smollm': expected package:"),
    ("model.base", "hub:org/name@main", "model.base: 'hub:org/name@main': expected "),
    ("model.base", "package:no_such/a.gguf#sha256=" + "0" * 64, "package 'no_such' is not inst"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_a_bad_parameter_is_named(key: str, value: Any, message: str) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    *groups, last = key.split(".")
    group = raw
    for name in groups:
        group = group[name]
    if value is None:
        del group[last]
    else:
        group[last] = value
    with pytest.raises(ValueError) as error:
        parse_params(raw, where="params.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tracker_that_is_not_installed_is_named_with_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["train"]["tracking"] = ["wandb"]
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as error:
        parse_params(raw, where="params.yaml")
    assert "train.tracking: ['wandb']: wandb is not installed: expected wandb==" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_versions_of_trackers_are_those_of_the_locks() -> None:
    for lock in ("requirements.in", "requirements.txt", "requirements-gpu.txt"):
        pins = [line.split()[0] for line in Path(lock).read_text().splitlines() if "==" in line]
        for name, version in training.TRACKER_VERSIONS.items():
            assert f"{name}=={version}" in pins


def test_a_parameter_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML"):
        load_params(path)
