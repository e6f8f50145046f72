"""Where sources come from: what is missing, not pinned or of another license is named."""

from pathlib import Path
from typing import Any

import pytest

from stages.lib.params.data import FileSource, LadderSource, RowsSource, SuiteSource
from stages.lib.provenance import origins

COMMIT = "0123456789" * 4
ORCA = f"hub:microsoft/orca-math-word-problems-200k@{COMMIT}/data/*.parquet"


def rows(**changes: Any) -> RowsSource:
    told = {
        "source": "rows",
        "name": "orca",
        "format": "orca-math",
        "path": ORCA,
        "license": "MIT",
        "fraction": 1.0,
        "exclude": [],
        "target": "conversations",
    }
    return RowsSource(**(told | changes))


BAD_ROWS = [
    ({"path": "hub:org/name/data.parquet"}, "path: 'hub:org/name/data.parquet': expected hub:ORG/"),
    ({"path": "hub:org/name@main/a.json"}, "path: 'hub:org/name@main/a.json': expected hub:ORG"),
    ({"path": f"hub:org/name@{'0' * 40}/a"}, "expected a commit: put the one that you want here"),
    ({"path": "nowhere.jsonl"}, "path: 'nowhere.jsonl': no such file"),
    ({"path": "nowhere/*.jsonl"}, "path: 'nowhere/*.jsonl': no such file"),
    ({"path": "/nowhere/*.jsonl"}, "path: '/nowhere/*.jsonl': no such file"),
    ({"license": "apache-2.0"}, "license: 'apache-2.0': expected mit, as the card of microsoft/"),
    ({"license": "  "}, "license: '  ': expected mit, as the card of microsoft/"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_ROWS)
def test_a_bad_part_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        origins.of_training(rows(**changes))
    assert str(error.value).startswith("prepare.train: orca: ")
    assert message in str(error.value)


def test_what_is_written_here_is_there() -> None:
    for path in ("ladder:3", "ladder-bare:28"):
        found = origins.of_training(rows(path=path))
        assert (found.there, found.where) == (True, origins.LADDER)


def test_local_files_folders_and_patterns_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    for path in (tmp_path, tmp_path / "a.jsonl", tmp_path / "*.jsonl"):
        found = origins.of_training(rows(path=str(path)))
        assert (found.there, found.gated, found.files) == (True, False, None)
    assert origins.of_training(FileSource(source="file", path=str(tmp_path / "a.jsonl"))).there


def test_the_hubs_cache_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    before = origins.of_training(rows())
    assert (before.there, before.gated, before.where) == (
        False,
        False,
        "microsoft/orca-math-word-problems-200k",
    )
    assert before.files is not None
    assert before.files.command() == (
        f"hf download microsoft/orca-math-word-problems-200k --revision {COMMIT} "
        "--repo-type dataset --include 'data/*.parquet'"
    )
    name = "datasets--microsoft--orca-math-word-problems-200k"
    data = tmp_path / name / "snapshots" / COMMIT / "data"
    data.mkdir(parents=True)
    assert not origins.of_training(rows()).there
    for number, is_there in enumerate((False, False, True)):
        (data / f"train-0000{number}-of-00003.parquet").touch()
        assert origins.of_training(rows()).there is is_there


def test_a_gated_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = origins.of_model(f"hub:google/gemma-2b@{COMMIT}")
    assert (found.there, found.gated, found.license) == (False, True, "gemma")
    unknown = origins.of_model(f"hub:someone/model@{COMMIT}")
    assert (unknown.gated, unknown.license) == (None, "see its card")
    with pytest.raises(ValueError, match="model.base: .*: expected a commit"):
        origins.of_model(f"hub:google/gemma-2b@{'0' * 40}")


def test_a_local_model(tiny_base: Path) -> None:
    found = origins.of_model(f"folder:{tiny_base}")
    assert (found.there, found.license, found.files) == (True, "unknown", None)
    with pytest.raises(ValueError, match="model.base: '/nowhere': no such file"):
        origins.of_model("folder:/nowhere")


def test_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    here = origins.of_benchmark("easy", LadderSource(source="ladder", per_rung=2))
    assert (here.there, here.where) == (True, origins.LADDER)
    with pytest.raises(ValueError, match="prepare.benchmarks.sat.path: 'sat.json': no such file"):
        origins.of_benchmark("sat", SuiteSource(source="sat", path="sat.json", size="all"))
    with pytest.raises(ValueError, match="prepare.benchmarks.sat.path: 'hub': sat is not there"):
        origins.of_benchmark("sat", SuiteSource(source="sat", path="hub", size="all"))
    svamp = origins.of_benchmark("svamp", SuiteSource(source="svamp", path="hub", size="all"))
    assert (svamp.there, svamp.license, svamp.where) == (False, "mit", "ChilleD/SVAMP")
    assert svamp.files is not None
    assert svamp.files.command().endswith(
        "--include 'data/train-00000-of-00001.parquet' --include 'data/test-00000-of-00001.parquet'"
    )
    data = svamp.files.folder() / "data"
    data.mkdir(parents=True)
    there = []
    for split in ("train", "test"):
        (data / f"{split}-00000-of-00001.parquet").touch()
        source = SuiteSource(source="svamp", path="hub", size="all")
        there.append(origins.of_benchmark("svamp", source).there)
    assert there == [False, True]
