"""The estimate of a composition that is not run."""

from pathlib import Path

import pytest

from stages.lib.core.paths import CONF
from tools import estimate

COMMIT = "0123456789" * 4
RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_at_its_mini_size(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    estimate.estimate([f"recipe={recipe}", "size=mini"], 80)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["stage", "item"]
    assert "- 134,515,008 parameters; stages/lib/costs/formulas.py has the formulas" in lines


def test_a_model_that_does_not_fit_is_refused_after_the_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["recipe=ladder", f"model.base=hub:EleutherAI/llemma_7b@{COMMIT}"]
    with pytest.raises(ValueError, match=r"train uniform: 106.1 GiB of a GPU: expected at most 80"):
        estimate.estimate(overrides, 80)
    report = capsys.readouterr().out
    assert "llama2" in report
    assert f"hf download EleutherAI/llemma_7b --revision {COMMIT}" in report
    estimate.estimate(overrides, 192)
    launch = "train.launch={strategy: fsdp2, processes: 8}"
    estimate.estimate([*overrides, launch, "train.micro_batches=8"], 80)
    assert "GiB on each of 8 GPUs (fsdp2)" in capsys.readouterr().out


def test_a_gated_model_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.lib.costs.table.get_token", lambda: None)
    estimate.estimate(["recipe=ladder", f"model.base=hub:google/gemma-2b@{COMMIT}"], 80)
    assert "accept its terms at https://huggingface.co/google/gemma-2b" in capsys.readouterr().out


def test_a_model_of_unknown_size_has_no_costs(capsys: pytest.CaptureFixture[str]) -> None:
    estimate.estimate(["recipe=ladder", f"model.base=hub:someone/model@{COMMIT}"], 80)
    report = capsys.readouterr().out
    assert report.startswith("source ")
    assert "model.base: someone/model: no costs, as its size is unknown" in report


EXITS = [
    (["recipe=nope"], "estimate: overrides: recipe: 'nope': expected one of ["),
    (
        ["recipe=ladder", "train.steps=x"],
        "estimate: recipe=ladder train.steps=x: train.steps: 'x': expected a whole number",
    ),
    (["--gpu-gib", "2", "recipe=ladder"], "estimate: train uniform: 3.0 GiB of a GPU: expected"),
    (["recipe=ladder", "--gpu-gib", "8", "size=mini"], ""),
]


@pytest.mark.parametrize(("arguments", "message"), EXITS)
def test_the_command_ends_in_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["estimate", *arguments])
    if message:
        with pytest.raises(SystemExit, match="1"):
            estimate.main()
    else:
        estimate.main()
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == bool(message)
