"""Sweep files: strict validation before any run, and the parameters of a trial."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.paths import CONF
from tools.sweep import spec
from tools.sweep.spec import check_sweep, compose_trial, load_sweep

NAMES = sorted(path.stem for path in Path("conf/sweep").glob("*.yaml"))
BASE, FACTOR = "weigh.arms.adaptive.base", "weigh.arms.adaptive.factor"
ACCURACY = {"benchmark": "ladder", "answer_mode": "cot", "system": "adaptive", "baseline": None}


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_sweeps_are_valid(name: str) -> None:
    check_sweep(load_sweep(name))


def test_the_grid_is_the_published_one() -> None:
    grid = load_sweep("grid")
    points = [(point[BASE], point[FACTOR]) for point in grid.points()]
    assert points == [(b, w) for b in (0, 1, 2, 3) for w in (0.25, 0.5, 1, 2)]
    assert grid.n_trials == 16


def choices(*values: Any) -> dict[str, Any]:
    return {"label": "x", "choices": list(values)}


def bounds(low: float, high: float, *, log: bool) -> dict[str, Any]:
    return {"label": "x", "low": low, "high": high, "log": log}


BAD_FILES: list[tuple[str, dict[str, Any], str]] = [
    ("grid", {"trails": 3}, "trails: unknown"),
    ("grid", {"targets": None}, "targets: missing"),
    ("grid", {"method": "random"}, "method: 'random': "),
    ("grid", {"trials": 3}, "trials: expected for a search, and only there"),
    ("search", {"seed": None}, "seed: expected for a search, and only there"),
    ("grid", {"parameters": {BASE: choices(1, 1)}}, f"parameters.{BASE}.choices: [1, 1"),
    ("grid", {"parameters": {BASE: bounds(0, 1, log=False)}}, f"{BASE}: a range: expected choices"),
    ("grid", {"score": {"metric": "x", "direction": "maximize"}}, "score.metric: 'x'"),
    ("search", {"trials": 0}, "trials: 0: "),
    ("search", {"parameters": {"a": {"label": "a", "low": 1}}}, "parameters.a.choices: expected"),
    ("search", {"parameters": {"a": {"label": "a", "width": 1}}}, "parameters.a.width: unknown"),
    ("search", {"parameters": {"a": bounds(2, 1, log=False)}}, "parameters.a.high: 1: "),
    ("search", {"parameters": {"a": bounds(0, 1, log=True)}}, "parameters.a.log: true: "),
]
BAD_POINTS: list[tuple[str, dict[str, Any], str]] = [
    ("grid", {"parameters": {"weigh.arms.adaptve.base": choices(1)}}, "weigh.arms.adaptve"),
    ("grid", {"parameters": {"train": choices({"stpes": 3})}}, "train.stpes"),
    ("grid", {"parameters": {FACTOR: choices(1, -1)}}, f"parameters: {FACTOR}: -1: "),
    ("search", {"parameters": {"train.steps": bounds(0, 9, log=False)}}, "train.steps: 0: "),
    ("grid", {"overrides": ["train.stpes=3"]}, "train.stpes"),
    ("grid", {"overrides": ["~evaluate.models.uniform"]}, "analyze.compare: "),
    ("grid", {"score": ACCURACY | {"system": "x"}}, "score.system: 'x': expected one of"),
    ("grid", {"score": ACCURACY | {"baseline": "x"}}, "score.baseline: 'x': expected one of"),
    ("grid", {"score": ACCURACY | {"benchmark": "x"}}, "score.benchmark: 'x': expected one of"),
]


@pytest.mark.parametrize(("name", "changes", "message"), [*BAD_FILES, *BAD_POINTS])
def test_a_mistake_is_named_in_one_line(
    name: str,
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = yaml.safe_load(Path(f"conf/sweep/{name}.yaml").read_text(encoding="utf-8"))
    raw = {key: value for key, value in (raw | changes).items() if value is not None}
    path = tmp_path / "sweep" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    for conf in CONF.glob("*"):
        if conf.name != "sweep":
            (tmp_path / conf.name).symlink_to(conf.resolve())
    monkeypatch.setattr(spec, "CONF", tmp_path)
    with pytest.raises(ValueError) as error:
        check_sweep(load_sweep(name))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_sweep_is_named() -> None:
    with pytest.raises(ValueError, match=r"'gird': expected one of \['grid', 'search'\]"):
        load_sweep("gird")


def test_a_mapping_is_merged_into_its_group() -> None:
    grid = load_sweep("grid")
    values = {"train": {"steps": 2, "learning_rate": 1e-05}, FACTOR: 3, "analyze.compare": [["a"]]}
    point, base = compose_trial(grid, values, CONF), compose_trial(grid, {}, CONF)
    assert point["train"] == base["train"] | {"steps": 2, "learning_rate": 1e-05}
    assert point["weigh"]["arms"]["adaptive"] == base["weigh"]["arms"]["adaptive"] | {"factor": 3}
    assert point["analyze"]["compare"] == [["a"]]
