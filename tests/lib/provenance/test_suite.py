"""The command that brings a benchmark's file from the SDAT authors' repository."""

from pathlib import Path
from typing import get_args

import pytest

from stages.lib.params.data import SuiteSource
from stages.lib.provenance.suite import download_command

COMMAND = (
    "dvc get https://github.com/tongyx361/sample-difficulty-adaptive-tuning {} "
    "--rev 4682faaf8cfaa8015920f5c0e904cccdc6924a76 -o {}"
)


def test_all_come_at_once_unless_their_folder_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"sat": "data/benchmarks/sat/sat.json", "aqua": "data/benchmarks/AQuA/AQuA.json"}
    for name, path in paths.items():
        assert download_command(name, path) == COMMAND.format("eval-datasets", "data/benchmarks")
    # `dvc get` would copy the folder into one that exists.
    Path("data/benchmarks").mkdir(parents=True)
    for name, path in paths.items():
        file = path.removeprefix("data/benchmarks/")
        assert download_command(name, path) == COMMAND.format(f"eval-datasets/{file}", path)


def test_a_file_may_have_another_name() -> None:
    expected = COMMAND.format("eval-datasets/numglue/numglue.json", "'my tests.json'")
    assert download_command("numglue", "my tests.json") == expected


def test_every_benchmark_has_a_file() -> None:
    for name in get_args(SuiteSource.model_fields["source"].annotation):
        assert f"{name.removeprefix('mmlu_')}.json" in download_command(name, "x.json").lower()
