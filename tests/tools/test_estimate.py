"""The estimate of a composition that is not run."""

import re
from pathlib import Path

import pytest

from stages.lib.core.paths import CONF
from stages.lib.runtime.machine import Machine
from stages.lib.runtime.nvidia import Gpu
from tools import estimate

COMMIT = "0123456789" * 4
RECIPES = sorted(path.stem for path in (CONF / "recipe").glob("*.yaml"))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_at_its_mini_size(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert estimate.estimate([f"recipe={recipe}", "size=mini"], None) == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["stage", "item"]
    assert "- 134,515,008 parameters; stages/lib/costs/formulas.py has the formulas" in lines


def test_a_model_that_does_not_fit_is_refused_after_the_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    overrides = ["recipe=ladder", f"model.base=hub:EleutherAI/llemma_7b@{COMMIT}"]
    assert estimate.estimate(overrides, None) == [
        f"{item}: 106.4 GiB of a GPU: expected at most 80 (--gpu-gib); more train.micro_batches, "
        "train.launch or adapters would need less"
        for item in ("train mastery", "replay dealt")
    ]
    report = capsys.readouterr().out
    assert "llama2" in report
    assert f"hf download EleutherAI/llemma_7b --revision {COMMIT}" in report
    assert estimate.estimate(overrides, 192) == []
    launch = "train.launch={strategy: fsdp2, processes: 8}"
    assert estimate.estimate([*overrides, launch, "train.micro_batches=8"], 80) == []
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


PUBLISHED = ("sdat", "paradigm", "gemma-orca", "lab2", "finetome-grpo")


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_published_recipe_misses_files_alone_and_says_how_to_get_them(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert estimate.estimate([f"recipe={recipe}", "size=full"], None) == []
    report = capsys.readouterr().out
    notes = [line for line in report.splitlines() if ": not here" in line]
    # The model, and each data set and benchmark that no package has.
    missing = re.findall(r"^(\S+(?: \S+)?) +no  ", report, re.MULTILINE)
    assert "model" in missing
    assert missing == [name for name in missing if any(name in note for note in notes)]
    for note in notes:
        assert re.search(r": (hf download \S+ --revision [0-9a-f]{40}|dvc get https://\S+ )", note)


def here(monkeypatch: pytest.MonkeyPatch, n_gpus: int, memory_gib: float) -> None:
    gpus = (Gpu("580.65", 79.6),) * n_gpus
    machine = Machine(gpus, 32, memory_gib, has_cuda_build=n_gpus > 0)
    monkeypatch.setattr(estimate, "this_machine", lambda: machine)


def test_a_node_that_has_all_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, 4, 256)
    assert estimate.estimate(["recipe=gemma-orca"], None) == []
    monkeypatch.setattr(estimate, "get_token", lambda: "hf_token")
    assert estimate.estimate(["recipe=gemma-orca"], None, here=True) == []


def test_what_a_machine_lacks_is_refused_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, 0, 24)
    launch = "train.launch={strategy: fsdp2, processes: 4}"
    sdat = ["recipe=sdat", launch]
    assert estimate.estimate(sdat, None) == []
    memory, strategy, host, *files = estimate.estimate(sdat, None, here=True)
    assert re.match(r"train \w+: [\d.]+ GiB of a GPU: expected at most 24 \(this machine\)", memory)
    assert strategy.startswith("train.launch.strategy: 'fsdp2': expected 'ddp' on this machine")
    assert host.startswith("model.base: 'hub:EleutherAI/llemma_7b@e223eee41c53449e6ea6548c9b71c50")
    assert "25.1 GiB while all processes load it: expected at most the 24.0 GiB" in host
    assert [line.partition(":")[0] for line in files] == [
        f"prepare.benchmarks.{name}.path" for name in ("numglue", "deepmind", "simuleq", "sat")
    ]
    assert files[-1].startswith(
        "prepare.benchmarks.sat.path: 'data/benchmarks/sat/sat.json': no such file; expected from "
        "`dvc get https://github.com/tongyx361/"
    )
    here(monkeypatch, 4, 256)
    assert estimate.estimate(sdat, None, here=True) == files
    # One's own limit goes before the machine's.
    assert "expected at most 10 (--gpu-gib)" in estimate.estimate(sdat, 10, here=True)[0]


def test_what_a_run_cannot_download_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, 1, 256)
    monkeypatch.setattr(estimate, "get_token", lambda: None)
    assert estimate.estimate(["recipe=gemma-orca"], None, here=True) == [
        "model: google/gemma-2b: accept its terms at https://huggingface.co/google/gemma-2b, then "
        "`hf auth login`"
    ]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    lines = estimate.estimate(["recipe=gemma-orca"], None, here=True)
    assert [line.partition(":")[0] for line in lines] == [
        "model",
        "train orca-math",
        "benchmark svamp",
    ]
    assert lines[0].startswith(
        "model: google/gemma-2b: not here, and offline; run `hf download google/gemma-2b --revision"
    )


EXITS = [
    (["recipe=nope"], "estimate: overrides: recipe: 'nope': expected one of ["),
    (
        ["recipe=ladder", "train.steps=x"],
        "estimate: recipe=ladder train.steps=x: train.steps: 'x': expected a whole number",
    ),
    (["--gpu-gib", "2", "recipe=ladder"], "estimate: train mastery: 2.9 GiB of a GPU: expected"),
    (["recipe=ladder", "--gpu-gib", "8", "size=mini"], ""),
]


@pytest.mark.parametrize(("arguments", "message"), EXITS)
def test_the_command_ends_in_a_line_for_each_error(
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
    assert all(line.startswith("estimate: ") for line in error.splitlines())
    assert bool(error) == bool(message)
