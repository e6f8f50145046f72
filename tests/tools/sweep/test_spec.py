"""Sweep files: what they may say, and what they make of the parameters."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.lib.core.paths import CONF
from tools.sweep import spec
from tools.sweep.spec import Grid

SWEEPS = sorted(path.stem for path in Path("conf/sweep").glob("*.yaml"))
BASE, FACTOR = "weigh.arms.adaptive.base", "weigh.arms.adaptive.factor"


def sweep_file(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: Any) -> None:
    """Write a committed sweep's file with changes into a folder of its own; None removes."""
    raw = yaml.safe_load(Path(f"conf/sweep/{name}.yaml").read_text(encoding="utf-8"))
    raw = {key: value for key, value in (raw | changes).items() if value is not None}
    (folder / "sweep").mkdir()
    (folder / "sweep" / f"{name}.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    monkeypatch.setattr(spec, "CONF", folder)


@pytest.mark.parametrize("name", SWEEPS)
def test_the_committed_sweeps_are_right(name: str) -> None:
    wanted = spec.load(name)
    spec.check(wanted, spec.compose(wanted.overrides, CONF))


def test_the_grid_is_the_published_one() -> None:
    grid = spec.load("grid")
    assert isinstance(grid, Grid)
    points = [(point[BASE], point[FACTOR]) for point in grid.points()]
    assert points == [(b, w) for b in (0, 1, 2, 3) for w in (0.25, 0.5, 1, 2)]
    assert grid.trials == 16


def one(label: str, **values: Any) -> dict[str, Any]:
    return {"label": label} | values


BAD_FILES = [
    ("grid", {"trails": 3}, "trails: unknown"),
    ("grid", {"targets": None}, "targets: missing"),
    ("grid", {"method": "random"}, "method: 'random': expected 'grid', 'search'"),
    ("grid", {"parameters": {BASE: one("b", choices=[1, 1])}}, f"parameters.{BASE}.choices: [1, 1"),
    ("grid", {"parameters": {BASE: one("b", low=0, high=1, log=False)}}, "base.high: unknown"),
    (
        "grid",
        {"score": {"metric": "accuracy", "direction": "maximize"}},
        "score.metric: 'accuracy'",
    ),
    ("search", {"trials": 0}, "trials: 0: "),
    ("search", {"parameters": {"a": one("a", low=2, high=1, log=False)}}, "parameters.a.high: 1: "),
    (
        "search",
        {"parameters": {"a": one("a", low=0, high=1, log=True)}},
        "parameters.a.log: True: ",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), BAD_FILES)
def test_a_bad_file_is_named(
    name: str,
    changes: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep_file(name, monkeypatch, tmp_path, **changes)
    with pytest.raises(ValueError) as error:
        spec.load(name)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_sweep_without_a_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"'gird': expected one of \['grid', 'search'\]"):
        spec.load("gird")


BAD_POINTS = [
    (
        {"parameters": {"weigh.arms.adaptve.base": one("b", choices=[1])}},
        "adaptve.base: 1: no such",
    ),
    (
        {"parameters": {"train": one("t", choices=[{"stpes": 3}])}},
        "parameters.train: {'stpes': 3}: no",
    ),
    ({"parameters": {FACTOR: one("w", choices=[1, -1])}}, f"parameters: {FACTOR}: -1: "),
    ({"overrides": ["train.stpes=3"]}, "overrides: Could not override 'train.stpes'"),
    ({"overrides": ["~evaluate.models.uniform"]}, "analyze.compare: "),
    (
        {"score": {"benchmark": "ladder", "answer_mode": "cot", "system": "x", "baseline": None}},
        "'x': ",
    ),
    (
        {"score": {"benchmark": "x", "answer_mode": "cot", "system": "adaptive", "baseline": None}},
        "'x': ",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD_POINTS)
def test_a_bad_point_is_named_before_any_work(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_file("grid", monkeypatch, tmp_path, **changes)
    wanted = spec.load("grid")
    with pytest.raises(ValueError) as error:
        spec.check(wanted, spec.compose(wanted.overrides, CONF))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mapping_is_merged_into_its_group() -> None:
    raw = {"train": {"steps": 1, "seed": 7}, "weigh": {"arms": {"a": {"base": 1}}}}
    values = {"train": {"steps": 2}, "weigh.arms.a.base": 3}
    assert spec.changed(raw, values) == {
        "train": {"steps": 2, "seed": 7},
        "weigh": {"arms": {"a": {"base": 3}}},
    }
    assert raw["train"] == {"steps": 1, "seed": 7}


def test_trials_and_score_may_change_without_a_new_beginning() -> None:
    search = spec.load("search")
    more = search.model_copy(update={"trials": 99, "score": spec.load("grid").score})
    assert spec.identity(more) == spec.identity(search)
    assert spec.identity(search.model_copy(update={"seed": 2})) != spec.identity(search)
