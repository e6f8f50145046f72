"""Valid parameters are accepted; invalid ones are named in one line."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.params import training
from stages.lib.params.load import load_params, parse_params
from tests.arms import FRONTIER, MASTERY, PLANNED
from tests.conftest import REPOSITORY

COMMITTED = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
# The groups that most cases change hold the same whatever the default run is.
COMMITTED["weigh"] |= {
    "arms": {
        "uniform": {"strategy": "uniform"},
        "adaptive": {"strategy": "repeat", "base": 1, "factor": 1},
        "control": {"strategy": "control", "control_of": "adaptive"},
    },
    "replays": {},
}
COMMITTED["prepare"]["benchmarks"]["gsm8k"] = {"source": "gsm8k", "size": 60}
COMMITTED["evaluate"] |= {
    "models": {"base": [0, 4], "uniform": [0], "adaptive": [0], "adaptive-gptq4": [0]},
    "max_tokens": {"ladder": 96, "gsm8k": 96},
}
COMMITTED["analyze"]["compare"] = [["adaptive", "uniform"], ["adaptive-gptq4", "adaptive"]]
MISSING: Any = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the committed parameters with other values at dotted keys."""
    raw = deepcopy(COMMITTED)
    for key, value in changes.items():
        *groups, last = key.split(".")
        group = raw
        for name in groups:
            group = group[name]
        if value is MISSING:
            del group[last]
        else:
            group[last] = deepcopy(value)
    return raw


def message_of(changes: dict[str, Any]) -> str:
    with pytest.raises(ValueError) as error:
        parse_params(changed(changes), where="params.yaml")
    return str(error.value)


def rows(name: str, target: str = "problems", format: str = "gsm8k", **fields: Any) -> Any:
    """Return a source of ladder problems in the format of a data set."""
    source = {"source": "rows", "name": name, "format": format, "target": target}
    source |= {"path": "ladder:3", "license": "Apache-2.0", "fraction": 1.0, "exclude": []}
    return source | fields


def talk(*sources: str) -> dict[str, Any]:
    return {"strategy": "conversations", "sources": list(sources)}


SEQUENTIAL = {"width": 0.1, "interval": 0.9, "max_k": 16}
FULL = {"method": "full", "optimizer": "adamw"}
LORA = {"method": "lora", "r": 4, "alpha": 8, "targets": ["q_proj"], "optimizer": "adamw"}
QLORA = LORA | {"method": "qlora", "dropout": 0.0}
GRPO = {"parent": "uniform", "seed": 1, "tuning": FULL, "zero_variance_weight": 0.2}
GPTQ = {"parent": "uniform", "bits": 4}
GPTQ |= {"calibration_seed": 1, "calibrate_on": "data/training/uniform.parquet"}
RTN = {"parent": "base", "method": "rtn", "bits": 4}
OTHERS = {
    "model.others": {"qwen": "file:qwen.gguf#sha256=" + "0" * 64},
    "model.adapted": {"tuned": {"parent": "qwen", "adapter": "folder:adapter"}},
    "quantize.gptq.base-gptq4": GPTQ | {"parent": "base", "calibrate_on": "my/own.parquet"},
    "quantize.rounded": {"base-rtn4": RTN, "tuned-rtn4": RTN | {"parent": "tuned"}},
    "evaluate.models.qwen": [0, 2],
    "evaluate.models.tuned-rtn4": [0],
    "evaluate.models.tuned": [0],
}
BAND = {"strategy": "band", "low": 0.25, "high": 0.75}
FOCAL = {"strategy": "focal", "gamma": 2.0, "level": "token"}
UNIFORM = {"uniform": {"strategy": "uniform"}}
DDP = {"strategy": "ddp", "processes": 2}
FSDP2 = {"strategy": "fsdp2", "processes": 2}
OWN = {"function": "my.rewards:brief", "weight": 0.1}


def control(arm: str) -> dict[str, Any]:
    return {"strategy": "control", "control_of": arm}


DEALT = {"arm": "frontier", "cells": "dealt", "seed": 1}
ONLINE = {
    "weigh.arms.frontier": FRONTIER,
    "weigh.arms.mastery": MASTERY,
    "weigh.arms.planned": PLANNED,
    "weigh.replays": {"dealt": DEALT, "yoked": DEALT | {"cells": "yoked"}},
    "evaluate.models.dealt": [0],
}

# Conversations beside problems, without difficulty.
TALK = {
    "prepare.train": [rows("a", "conversations"), rows("b")],
    "weigh.arms": UNIFORM | {"talk": talk("a")},
    "sample.k": 0,
    "prepare.demonstrations": 0,
    "quantize.gptq": {},
    "evaluate.models": {"base": [0], "talk": [0]},
    "analyze.compare": [["talk", "base"]],
}
DIFFICULTY = {"sample.k": 2, "prepare.demonstrations": 4}
PUBLISHED = {"sample.k": 0, "score.definition": "published"}
ONLY_TALK = {"prepare.train": [rows("a", "conversations")], "weigh.arms": {"talk": talk("a")}}

VALID = [
    {},
    TALK,
    TALK | {"weigh.arms": UNIFORM | {"talk": talk("a"), "c": control("uniform")}},
    TALK | {"weigh.arms": {"f": FOCAL, "talk": talk("a"), "c": control("f")}},
    TALK | ONLY_TALK,
    TALK | {"grpo.models": {"grpo": GRPO | {"parent": "base"}}},
    OTHERS,
    TALK | {"quantize.gptq": {"q": GPTQ | {"calibrate_on": "data/training/talk.parquet"}}},
    TALK | DIFFICULTY,
    TALK | PUBLISHED | {"weigh.arms.hard": BAND},
    ONLINE | {"quantize.gptq.new": GPTQ | {"parent": "dealt"}},
    {"evaluate.models": {"base": [0], "uniform": [0]}, "analyze.compare": [["uniform", "base"]]},
    {"train.launch": DDP, "train.micro_batches": 2, "train.tuning": QLORA},
    {"grpo.launch": DDP, "grpo.micro_batches": 4, "grpo.beta": 0.0, "grpo.epsilon_high": 0.28},
    {"grpo.rewards": {"answer": 1, "format": 0.0, "brief": OWN}},
    {"grpo.rewards": {"brief": OWN | {"options": {"most": 80, "unit": "words"}}}},
    {"train.launch": FSDP2, "train.micro_batches": 2, "train.tuning": FULL},
    {"train.tuning": FULL | {"optimizer": "adamw_8bit"}},
    ONLINE,
    {
        "weigh.arms": UNIFORM | {"frontier": FRONTIER},
        "sample.k": 0,
        "quantize.gptq": {},
        "evaluate.models": {"base": [0], "frontier": [0]},
        "analyze.compare": [["frontier", "base"]],
    },
]


@pytest.mark.parametrize("changes", VALID)
def test_valid_parameters_are_accepted(changes: dict[str, Any]) -> None:
    parse_params(changed(changes), where="test")


INVALID = [
    # Keys.
    ("train.stepz", 3, "train.stepz: unknown key; did you mean train.steps?"),
    ("trian", {}, "trian: unknown key; did you mean train?"),
    ("train.lr", 0.1, "train.lr: unknown key"),
    ("train.tuning.r", 8, "train.tuning.r: unknown key"),
    (
        "weigh.arms.adaptive.facter",
        2,
        "weigh.arms.adaptive.facter: unknown key; did you mean weigh.arms.adaptive.factor?",
    ),
    (
        "prepare.train",
        [{"source": "ladder", "per_rng": 3}],
        "prepare.train.0.per_rng: unknown key; did you mean prepare.train.0.per_rung?",
    ),
    ("sample.sequential", SEQUENTIAL | {"round": 2}, "sample.sequential.round: unknown key"),
    ("sample.k", MISSING, "sample.k: missing"),
    ("train.tuning", {}, "train.tuning.method: missing"),
    ("train.tuning.method", "lora", "train.tuning.r: missing"),
    ("sample.sequential", {"width": 0.1}, "sample.sequential.interval: missing"),
    ("weigh.arms", {"A b": {}}, "weigh.arms.A b: 'A b': expected text that matches ^[a-z0-9]"),
    # Kinds of values.
    (
        "prepare.train",
        {"source": "file", "path": "a.jsonl"},
        "prepare.train: {'path': 'a.jsonl', 'source': 'file'}: expected a list",
    ),
    ("train", None, "train: None: expected a mapping"),
    ("train.tuning", 3, "train.tuning: 3: expected a mapping"),
    ("evaluate.models.base", {}, "evaluate.models.base: {}: expected a list"),
    ("sample.k", "4", "sample.k: '4': expected a whole number"),
    ("sample.k", 0.5, "sample.k: 0.5: expected a whole number"),
    ("sample.k", True, "sample.k: True: expected a whole number"),
    ("train.gradient_checkpointing", 1, "gradient_checkpointing: 1: expected true or false"),
    ("grpo.beta", "a", "grpo.beta: 'a': expected a number"),
    ("prompts.system", 1, "prompts.system: 1: expected text"),
    ("prepare.benchmarks.gsm8k.size", "x", "size: 'x': expected a whole number or 'all'"),
    ("train.tuning.method", "lroa", "method: 'lroa': expected 'full', 'lora', 'qlora'"),
    ("train.tracking", ["x"], "tracking.0: 'x': expected 'tensorboard', 'trackio' or 'wandb'"),
    ("weigh.arms.uniform.strategy", "unifrm", "weigh.arms.uniform.strategy: 'unifrm': expected "),
    # Bounds.
    ("weigh.arms.adaptive.factor", -1, "weigh.arms.adaptive.factor: -1: expected at least 0"),
    ("train.steps", 0, "train.steps: 0: expected more than 0"),
    ("train.seed", 2**31, "train.seed: 2147483648: expected less than 2147483648"),
    ("train.weight_decay", -0.1, "train.weight_decay: -0.1: expected at least 0"),
    ("sample.sequential", SEQUENTIAL | {"width": 1.0}, "width: 1.0: expected less than 1"),
    ("sample.temperature", 0.0, "sample.temperature: 0.0: "),
    ("prepare.train", [{"source": "ladder", "per_rung": 3.5}], "prepare.train.0.per_rung: 3.5: "),
    ("prepare.train", [rows("a", license="")], "license: '': expected text of 1 or more"),
    ("engine.block_size", 24, "engine.block_size: 24: expected a multiple of 16"),
    ("weigh.arms.uniform", BAND | {"low": -0.1}, "weigh.arms.uniform.low: -0.1: "),
    ("weigh.arms.uniform", FOCAL | {"level": "word"}, "weigh.arms.uniform.level: 'word': "),
    ("weigh.arms.uniform", {"strategy": "curriculum", "pace": 0.0}, "uniform.pace: 0.0: "),
    (
        "weigh.arms.uniform",
        {"strategy": "dart_uniform", "per_problem": 0},
        "weigh.arms.uniform.per_problem: 0: ",
    ),
    ("grpo.generations", 1, "grpo.generations: 1: "),
    ("grpo.beta", -0.1, "grpo.beta: -0.1: expected at least 0"),
    ("grpo.epsilon_high", 0.0, "grpo.epsilon_high: 0.0: expected more than 0"),
    ("grpo.loss_type", "ppo", "grpo.loss_type: 'ppo': expected 'grpo', 'dapo' or 'dr_grpo'"),
    ("grpo.scale_rewards", "std", "grpo.scale_rewards: 'std': expected 'group', 'batch' or 'none'"),
    ("grpo.max_resamples", -1, "grpo.max_resamples: -1: expected at least 0"),
    ("grpo.rewards.answer", -1.0, "grpo.rewards.answer: -1.0: expected at least 0"),
    ("grpo.rewards.answer", "x", "grpo.rewards.answer: 'x': expected a number"),
    ("grpo.rewards.brief", {"weight": 0.1, "functon": "a:b"}, "functon: unknown key; did you mean"),
    ("grpo.rewards.brief", {"function": "a:b"}, "grpo.rewards.brief.weight: missing"),
    ("grpo.rewards.brief", OWN | {"function": "a.b"}, "brief.function: 'a.b': expected text that"),
    ("grpo.rewards", {"Brief": OWN}, "grpo.rewards.Brief: 'Brief': expected text that matches"),
    ("grpo.models", {"g": GRPO | {"zero_variance_weight": 1.5}}, "zero_variance_weight: 1.5: "),
    ("quantize.gptq.adaptive-gptq4.bits", 5, "adaptive-gptq4.bits: 5: expected 2, 3, 4 or 8"),
    (
        "analyze.compare",
        [["adaptive"]],
        "analyze.compare.0: ['adaptive']: expected 2 or more items",
    ),
    ("analyze.runs", {"base": ["base"] * 2}, "['base', 'base']: expected 3 or more items, not 2"),
    ("demo.port", 65536, "demo.port: 65536: expected at most 65535"),
    ("demo.models_in_memory", 1, "demo.models_in_memory: 1: "),
    ("hub.push", {"repo": "x", "private": True}, "hub.push.repo: 'x': expected text that matches"),
    # Values within a group.
    ("model.base", "smollm", "model.base: 'smollm': expected package:"),
    ("model.base", "hub:org/name@main", "model.base: 'hub:org/name@main': expected "),
    ("model.base", "package:no_such/a.gguf#sha256=" + "0" * 64, "package 'no_such' is not inst"),
    ("prepare.train", [rows("a", path="ladder:0")], "path: 'ladder:0': expected ladder:N, N"),
    ("prepare.train", [rows("a", path="ladder-bare:x")], "expected ladder-bare:N, N problems"),
    (
        "sample.prompting",
        ["cot", "cot"],
        "sample.prompting: ['cot', 'cot']: expected no duplicates",
    ),
    ("sample.sequential", SEQUENTIAL | {"max_k": 4}, "sample.sequential.max_k: 4: expected more"),
    ("weigh.arms.uniform", BAND | {"high": 0.1}, "uniform.high: 0.1: expected at least low=0.25"),
    (
        "weigh.arms.control.control_of",
        "adaptve",
        "weigh.arms.control.control_of: 'adaptve': expected an arm",
    ),
    ("train.keep", "best", "train.keep: 'best': expected train.evaluate_every, or 'last'"),
    ("train.evaluate_every", 2, "train.evaluate_every: 2: expected train.validation above 0"),
    ("train.row_tokens", 511, "train.row_tokens: 511: expected at least max_length=512"),
    ("train.launch", DDP, "train.micro_batches: 1: expected a multiple of launch.processes=2"),
    ("train.tracking", ["wandb"] * 2, "train.tracking: ['wandb', 'wandb']: expected no duplicates"),
    ("weigh.arms.uniform.train", {"seed": -1}, "weigh.arms.uniform.train.seed: -1: "),
    ("grpo.iterations", 3, "grpo.steps: 20: expected a multiple of iterations: 3"),
    ("grpo.save_every", 0, "grpo.save_every: 0: "),
    ("grpo.micro_batches", 7, "grpo.micro_batches: 7: expected a divisor of the "),
    (
        "grpo.rewards",
        {"answer": 0.0, "format": 0.0},
        "'format': 0.0}: expected a reward with a weight above 0",
    ),
    (
        "grpo.rewards",
        {"answer": 1.0, "brief": 0.1},
        "expected {function: package.module:name, weight: 1.0} for brief, as the built-in rewards",
    ),
    (
        "grpo.rewards",
        {"answer": OWN},
        "expected a number for answer, which has a function already",
    ),
    ("grpo.launch", FSDP2, "grpo.launch.strategy: 'fsdp2': expected 'ddp', as every process gener"),
    ("grpo.launch", DDP, "grpo.micro_batches: 1: expected a multiple of launch.processes=2"),
    (
        "grpo.launch",
        DDP | {"processes": 5},
        "grpo.prompts_per_step: 12: expected a multiple of launch.processes=5",
    ),
    (
        "grpo.models",
        {"g": GRPO | {"tuning": LORA | {"dropout": 0.1}}},
        "grpo.models.g.tuning.dropout: 0.1: expected 0.0, as the model that is trained",
    ),
    (
        "analyze.runs",
        {"base": ["base"] * 3, "uniform": ["uniform"] * 4},
        "analyze.runs.uniform: 4 runs: expected 3, as the first has",
    ),
    # Names of other groups.
    ("analyze.runs", {"base": ["bass"] * 3}, "analyze.runs.base: 'bass': expected one of ['base'"),
    (
        "grpo.models",
        {"g": GRPO | {"parent": "g"}},
        "grpo.models.g.parent: 'g': expected one of ['adaptive', 'base', 'control', ",
    ),
    ("grpo.models", {"base": GRPO}, "grpo.models.base: expected a name that is"),
    ("grpo.models", {"uniform": GRPO}, "grpo.models.uniform: expected a name "),
    ("quantize.gptq.adaptive-gptq4.parent", "x", "quantize.gptq.adaptive-gptq4.parent: 'x': "),
    (
        "quantize.gptq.adaptive-gptq4.calibrate_on",
        "data/training/dealt.parquet",
        "adaptive-gptq4.calibrate_on: 'data/training/dealt.parquet': expected one of ['data/tr",
    ),
    ("quantize.gptq.adaptive-gptq4.calibrate_on", "own.csv", "'own.csv': expected text that "),
    ("quantize.rounded.r", RTN | {"parent": "r"}, "quantize.rounded.r.parent: 'r': expected one"),
    ("quantize.rounded.r", RTN | {"method": "gptq"}, "quantize.rounded.r"),
    ("model.others.mine", "mine", "model.others.mine: 'mine': expected package:PACKAGE/FILE.gguf"),
    ("model.others.uniform", "folder:x", "weigh.arms.uniform: expected a name that is not taken"),
    (
        "model.adapted.a",
        {"parent": "base", "adapter": "file:a.gguf#sha256=" + "0" * 64},
        "': expected folder:PATH or hub:ORG/NAME@COMMIT",
    ),
    (
        "model.adapted.a",
        {"parent": "a", "adapter": "folder:x"},
        "model.adapted.a.parent: 'a': expected one of ['adaptive', 'base', ",
    ),
    ("evaluate.models.nobody", [0], "evaluate.models.nobody: expected one of "),
    ("evaluate.max_tokens.aqua", 9, "evaluate.max_tokens: ['aqua', "),
    ("evaluate.held_out", "aqua", "evaluate.held_out: 'aqua': expected one of "),
    ("analyze.compare", [["adaptive", "x"]], "analyze.compare: 'x': expected one of "),
    ("sample.shots", 5, "sample.shots: 5: expected at most prepare.demonstrations=4"),
    (
        "evaluate.models.adaptive-gptq4",
        [1],
        "evaluate.models.adaptive-gptq4: [1]: expected to begin with as many examples as its "
        "parent's, [0]",
    ),
    (
        "evaluate.models",
        {"base": [0], "uniform": [0], "adaptive-gptq4": [0]},
        "evaluate.models: adaptive-gptq4: expected its parent adaptive to be evaluated too",
    ),
]


@pytest.mark.parametrize(("key", "value", "message"), INVALID)
def test_an_invalid_parameter_is_named(key: str, value: Any, message: str) -> None:
    text = message_of({key: value})
    assert message in text
    assert text.startswith("params.yaml: ")
    assert "\n" not in text


INCOMPATIBLE = [
    (
        {
            "train.launch": FSDP2,
            "train.micro_batches": 2,
            "weigh.arms.uniform.train": {"tuning": QLORA},
        },
        "train.launch.strategy: 'fsdp2': expected 'ddp' with qlora, whose 4-bit weights stay whole",
    ),
    *(
        (
            {"train.launch": FSDP2, "train.micro_batches": 2, "train.tuning": tuning},
            f"train.launch.strategy: 'fsdp2': expected 'ddp' with {tuning['optimizer']}, which "
            "updates whole parameters",
        )
        for tuning in (
            FULL | {"optimizer": "adamw_8bit"},
            LORA | {"dropout": 0.0, "optimizer": "paged_adamw_8bit"},
        )
    ),
    (
        TALK | {"prepare.train": [rows("a"), rows("a", "conversations")]},
        "prepare.train: ['a', 'a']: expected each name once",
    ),
    (
        TALK | {"prepare.train": [rows("a", format="sharegpt")]},
        "prepare.train: a: target: 'problems': expected 'conversations' of format sharegpt",
    ),
    (
        TALK | {"weigh.arms": {"talk": talk("b", "nobody", "a")}},
        "weigh.arms.talk.sources: ['b', 'nobody']: expected sources of prepare.train with target "
        "conversations: ['a']",
    ),
    (
        TALK | {"prepare.train": [rows("a", "conversations")]},
        "weigh.arms.uniform: 'uniform': expected a source of prepare.train that gives problems",
    ),
    (
        ONLINE | {"weigh.arms.c": control("frontier")},
        "weigh.arms.c.control_of: 'frontier': its weights follow its training: expected an entry "
        "of weigh.replays instead",
    ),
    (
        ONLINE | {"weigh.replays.dealt": DEALT | {"arm": "uniform"}},
        "weigh.replays.dealt.arm: 'uniform': expected one of the online arms ['frontier', "
        "'mastery', 'planned']",
    ),
    (
        ONLINE | {"weigh.replays.uniform": DEALT},
        "weigh.replays.uniform: expected a name that is not taken",
    ),
    (
        {"quantize.gptq.uniform": GPTQ},
        "quantize.gptq.uniform: expected a name that is not taken",
    ),
    ({"weigh.arms.base": {"strategy": "uniform"}}, "weigh.arms.base: expected a name that is not"),
    (
        {"grpo.tracking": ["wandb", "wandb"]},
        "grpo.tracking: ['wandb', 'wandb']: expected no duplicates",
    ),
    ({"evaluate.models.base": [0, 0]}, "evaluate.models.base: [0, 0]: expected no duplicates"),
    (
        TALK | {"weigh.arms": {"talk": talk("a"), "c": control("talk")}},
        "weigh.arms.c.control_of: expected an arm that trains on problems",
    ),
    (
        TALK | ONLY_TALK | {"grpo.models": {"grpo": GRPO | {"parent": "base"}}},
        "grpo.models: ['grpo']: expected a source of prepare.train that gives problems",
    ),
    (
        TALK | {"weigh.arms.hard": BAND},
        "weigh.arms.hard: 'band': expected sample.k above 0, as the arm needs difficulty",
    ),
    (
        {"sample.prompting": ["pot"], "sample.sequential": SEQUENTIAL},
        "sample.prompting: ['pot']: expected cot, which sequential sampling is for",
    ),
    ({"sample.k": 0}, "weigh.arms.adaptive: 'repeat': expected sample.k above 0"),
    (
        PUBLISHED | {"sample.k": 4},
        "sample.k: 4: expected 0 with score.definition: 'published'",
    ),
    (
        PUBLISHED | {"weigh.arms.dart": {"strategy": "dart_uniform", "per_problem": 2}},
        "weigh.arms.dart: 'dart_uniform': expected sample.k above 0, as the arm trains on samples",
    ),
    (
        TALK | {"sample.sequential": SEQUENTIAL},
        "sample.sequential: expected null where sample.k is 0",
    ),
    (
        TALK | {"evaluate.models": {"base": [0, 2], "talk": [0]}},
        "evaluate.models.base: 2: expected at most prepare.demonstrations=0",
    ),
]


@pytest.mark.parametrize(("changes", "message"), INCOMPATIBLE)
def test_incompatible_parameters_are_named(changes: dict[str, Any], message: str) -> None:
    text = message_of(changes)
    assert text.startswith(f"params.yaml: {message}")
    assert "\n" not in text


def test_a_tracker_that_is_not_installed_is_named_with_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    text = message_of({"train.tracking": ["wandb"]})
    assert "train.tracking: ['wandb']: wandb is not installed: expected wandb==" in text


def test_the_versions_of_trackers_are_those_of_the_locks() -> None:
    for lock in ("requirements.in", "requirements.txt", "requirements-gpu.txt"):
        pins = [line.split()[0] for line in Path(lock).read_text().splitlines() if "==" in line]
        for name, version in training.TRACKER_VERSIONS.items():
            assert f"{name}=={version}" in pins


def test_a_parameter_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML") as error:
        load_params(path)
    assert "\n" not in str(error.value)
