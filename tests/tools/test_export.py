"""The command: what it writes, on a tiny model, with the real runtime and the real vLLM."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stages.lib.core.files import read_json
from stages.lib.core.paths import EXPORT_REPORTS, EXPORTS, MODELS
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.folder import weight_bytes
from tests.stages.conftest import Change
from tools.export import __main__ as export

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

# As all that use an engine.
pytestmark = pytest.mark.xdist_group("engines")

SPEEDS = {"tokens_per_second_single", "first_token_ms"}


@pytest.fixture
def model(with_problems: Change, terse: Path) -> str:
    """Enter a folder with problems and one model; return its name."""
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(terse)
    return "base"


def test_an_export_is_compared_with_its_model(
    model: str, terse: Path, terse_engine: "Engine", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.lib.inference.engine.Engine", lambda *_: terse_engine)
    export.main(model, "fp32")
    report = read_json(EXPORT_REPORTS / "base-fp32.json")
    assert (report["model"], report["precision"], report["bits"]) == ("base", "fp32", 32)
    assert report["fingerprint"] == model_fingerprint(terse)
    counts = report["by_benchmark"].values()
    assert sum(count["n"] for count in counts) == report["problems"]
    assert (
        sum(count["right"] for count in counts)
        == report["exported"]["accuracy"] * report["problems"]
    )
    assert report["vllm"]["bytes"] == weight_bytes(terse)
    assert report["exported"]["bytes"] > 2 * weight_bytes(terse)
    for side in ("exported", "vllm"):
        assert set(report[side]) == {"bytes", "accuracy"} | SPEEDS
        assert all(len(report[side][name]) == 2 for name in SPEEDS)
        assert all(min(report[side][name]) > 0 for name in SPEEDS)
    for pair in ("agreement", "vllm_with_itself"):
        assert 0.5 < report[pair]["same_text"] <= 1
        assert report[pair]["same_text"] <= report[pair]["same_grade"]
    assert {path.name for path in (EXPORTS / "base-fp32").iterdir()} > {
        "genai_config.json",
        "model.onnx",
        "tokenizer.json",
    }
