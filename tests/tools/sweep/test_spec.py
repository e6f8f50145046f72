"""Sweep files: strict validation before any run, and the parameters of a trial."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose
from tests.tools.sweep.committed import committed
from tools.sweep import spec
from tools.sweep.spec import load_sweep

SCORE = {"file": "a.csv", "row": {"system": "x"}, "key": "accuracy", "direction": "maximize"}
BASE, FACTOR = "weigh.arms.adaptive.base", "weigh.arms.adaptive.factor"


def test_the_grid_is_the_published_one() -> None:
    grid = committed("grid")
    points = [(point[BASE], point[FACTOR]) for point in grid.points()]
    assert points == [(b, w) for b in (0, 1, 2, 3) for w in (0.25, 0.5, 1, 2)]
    assert grid.n_trials == 16


def bounds(low: float, high: float, *, log: bool) -> dict[str, Any]:
    return {"low": low, "high": high, "log": log}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("grid", {"trails": 3}, "trails: unknown"),
    ("grid", {"targets": None}, "targets: missing"),
    ("grid", {"trials": 3}, "seed: expected for a search, and only there"),
    ("search", {"seed": None}, "seed: expected for a search, and only there"),
    ("search", {"trials": 0}, "trials: 0: "),
    ("grid", {"choices": {}}, "choices: expected a parameter to vary"),
    ("grid", {"choices": {BASE: []}}, f"choices.{BASE}: "),
    ("grid", {"ranges": {BASE: bounds(0, 1, log=False)}}, f"{BASE}: expected choices in a grid"),
    ("search", {"ranges": {"a": {"low": 1, "high": 2, "width": 1}}}, "ranges.a.width: unknown"),
    ("search", {"ranges": {"a": bounds(2, 1, log=False)}}, "ranges.a.high: 1: "),
    ("search", {"ranges": {"a": bounds(0, 1, log=True)}}, "ranges.a.log: true: "),
    ("grid", {"score": SCORE | {"file": "x.txt"}}, "score.file: 'x.txt': "),
    ("grid", {"score": SCORE | {"row": None}}, "score.row: expected for a CSV file, and only"),
    ("grid", {"choices": {"weigh.arms.adaptve.base": [1]}}, "weigh.arms.adaptve"),
    ("grid", {"choices": {"train": [{"stpes": 3}]}}, "train.stpes"),
    ("grid", {"choices": {FACTOR: [1, -1]}}, f"parameters: {FACTOR}: -1: "),
    ("search", {"ranges": {"train.steps": bounds(0, 9, log=False)}}, "train.steps: 0: "),
    ("grid", {"overrides": ["train.stpes=3"]}, "train.stpes"),
    ("grid", {"overrides": ["~evaluate.models.uniform"]}, "analyze.compare: "),
    ("grid", {"overrides": []}, "scored on prepare.benchmarks.ladder: expected a dev set"),
]


@pytest.mark.parametrize(("name", "changes", "message"), BAD)
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
        load_sweep(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_sweep_is_named() -> None:
    with pytest.raises(ValueError, match=r"'gird': expected one of \['grid', 'search'\]"):
        load_sweep("gird")


def test_a_mapping_is_merged_into_its_group() -> None:
    grid = committed("grid")
    values = {"train": {"steps": 2, "learning_rate": 1e-05}, FACTOR: 3, "analyze.compare": [["a"]]}
    point, base = compose(grid.overrides_at(values), CONF), compose(grid.overrides_at({}), CONF)
    assert point["train"] == base["train"] | {"steps": 2, "learning_rate": 1e-05}
    assert point["weigh"]["arms"]["adaptive"] == base["weigh"]["arms"]["adaptive"] | {"factor": 3}
    assert point["analyze"]["compare"] == [["a"]]
