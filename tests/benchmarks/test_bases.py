"""The benchmark of base models, on a tiny one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import bases
from stages.lib.analysis.intervals import wilson_interval
from stages.lib.models.folder import weight_bytes
from tests.stages.conftest import Change, change, prepared, with_problems

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

__all__ = ["change", "prepared", "with_problems"]
# As all that use an engine.
pytestmark = pytest.mark.xdist_group("engines")


def test_a_base_has_a_row_without_and_with_examples(
    with_problems: Change, terse: Path, terse_engine: "Engine", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.lib.inference.engine.Engine", lambda *_: terse_engine)
    base = f"folder:{terse}"
    zero_shot, one_shot = bases.measure(base)
    assert (zero_shot["base"], zero_shot["shots"], one_shot["shots"]) == (base, 0, 1)
    for row in (zero_shot, one_shot):
        n_correct = round(row["accuracy"] * row["problems"])
        low, high = wilson_interval(n_correct, 6, level=0.95)
        assert (row["problems"], row["low"], row["high"]) == (6, round(low, 4), round(high, 4))
        assert row["bytes"] == weight_bytes(terse)
        assert min(row["tokens_per_second_single"], row["first_token_ms"]) > 0


def test_a_misspelt_base_ends_before_any_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bases", "folder:somewhere", "somewhere"])
    monkeypatch.setattr(bases, "ProcessPoolExecutor", None)
    with pytest.raises(ValueError, match="'somewhere': expected package:"):
        bases.main()
