"""Where sources come from: what is missing, not pinned or of another license is named."""

from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose
from stages.lib.params.data import FileSource, LadderBenchmark, RowsSource, SuiteSource
from stages.lib.params.load import parse_params
from stages.lib.provenance.origins import (
    GENERATED,
    from_elsewhere,
    locate_all,
    locate_benchmark,
    locate_model,
    locate_training_source,
    root_of,
    source_of,
)
from tests.arms import ROWS

COMMIT = "0123456789" * 4
ORCA = f"hub:microsoft/orca-math-word-problems-200k@{COMMIT}/data/*.parquet"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def rows(path: str = ORCA, license: str = "MIT") -> RowsSource:
    changes = {"name": "orca", "format": "orca-math", "path": path, "license": license}
    return RowsSource.model_validate(ROWS | changes)


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"path": "hub:org/name/data.parquet"}, "path: 'hub:org/name/data.parquet': expected hub:ORG/"),
    ({"path": "hub:org/name@main/a.json"}, "path: 'hub:org/name@main/a.json': expected hub:ORG"),
    ({"path": f"hub:org/name@{'0' * 40}/a"}, "expected the commit to use in place of the zeros"),
    ({"path": "nowhere.jsonl"}, "path: 'nowhere.jsonl': no such file"),
    ({"path": "nowhere/*.jsonl"}, "path: 'nowhere/*.jsonl': no such file"),
    ({"path": "/nowhere/*.jsonl"}, "path: '/nowhere/*.jsonl': no such file"),
    ({"license": "apache-2.0"}, "license: 'apache-2.0': expected mit, as the card of microsoft/"),
    ({"license": "  "}, "license: '  ': expected mit, as the card of microsoft/"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_ROWS)
def test_a_bad_source_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        locate_training_source(rows(**changes))
    assert str(error.value).startswith("prepare.train: orca: ")
    assert message in str(error.value)


@pytest.mark.parametrize("path", ["ladder:3", "ladder-bare:28"])
def test_generated_problems_are_available(path: str) -> None:
    source = locate_training_source(rows(path))
    assert (source.available, source.where) == (True, GENERATED)


def test_local_files_folders_and_patterns_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    for path in (tmp_path, tmp_path / "a.jsonl", tmp_path / "*.jsonl"):
        source = locate_training_source(rows(str(path)))
        assert (source.available, source.gated, source.files) == (True, False, None)
    own = locate_training_source(FileSource(source="file", path=str(tmp_path / "a.jsonl")))
    assert (own.available, own.name) == (True, "train a")


def test_a_data_set_is_available_with_all_its_shards() -> None:
    before = locate_training_source(rows())
    assert (before.available, before.gated) == (False, False)
    assert before.where == "microsoft/orca-math-word-problems-200k"
    assert before.files is not None
    assert before.files.download_command() == (
        f"hf download microsoft/orca-math-word-problems-200k --revision {COMMIT} "
        "--repo-type dataset --include 'data/*.parquet'"
    )
    data = before.files.folder() / "data"
    data.mkdir(parents=True)
    for number, is_available in enumerate((False, False, True)):
        (data / f"train-0000{number}-of-00003.parquet").touch()
        assert locate_training_source(rows()).available is is_available


def test_a_model_of_the_hub() -> None:
    gemma = locate_model(f"hub:google/gemma-2b@{COMMIT}")
    assert (gemma.available, gemma.gated, gemma.license) == (False, True, "gemma")
    unlisted = locate_model(f"hub:someone/model@{COMMIT}")
    assert (unlisted.gated, unlisted.license) == (None, "see its card")
    with pytest.raises(ValueError, match="model.base: .*: expected the commit"):
        locate_model(f"hub:google/gemma-2b@{'0' * 40}")


def test_a_local_model(tiny_base: Path) -> None:
    model = locate_model(f"folder:{tiny_base}")
    assert (model.available, model.license, model.files) == (True, "unknown", None)
    with pytest.raises(ValueError, match="model.base: '/nowhere': no such file"):
        locate_model("folder:/nowhere")


def test_benchmarks() -> None:
    ladder = locate_benchmark("easy", LadderBenchmark(source="ladder", per_rung=2, part="test"))
    assert (ladder.available, ladder.where) == (True, GENERATED)
    with pytest.raises(ValueError, match="prepare.benchmarks.s.path: 'my.jsonl': no such file"):
        locate_benchmark("s", FileSource(source="file", path="my.jsonl"))
    with pytest.raises(ValueError, match="prepare.benchmarks: sat: not on the Hub"):
        locate_benchmark("s", SuiteSource(source="sat", path="hub", size="all"))


def test_a_benchmark_of_the_authors_is_available_or_a_command_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("data/benchmarks/sat/sat.json")
    source = SuiteSource(source="sat", path=str(file), size="all")
    sat = locate_benchmark("sat", source)
    assert (sat.available, sat.files, sat.where) == (False, None, str(file))
    assert sat.command.startswith("dvc get https://github.com/tongyx361/")
    assert sat.command.endswith(" -o data/benchmarks")
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    assert locate_benchmark("sat", source).available


def test_a_benchmark_of_the_hub_is_available_with_all_its_files() -> None:
    source = SuiteSource(source="svamp", path="hub", size="all")
    svamp = locate_benchmark("svamp", source)
    assert (svamp.available, svamp.license, svamp.where) == (False, "mit", "ChilleD/SVAMP")
    assert svamp.files is not None
    train, test = svamp.files.patterns
    assert svamp.files.download_command().endswith(f"--include '{train}' --include '{test}'")
    (svamp.files.folder() / "data").mkdir(parents=True)
    for name, is_available in ((train, False), (test, True)):
        (svamp.files.folder() / name).touch()
        assert locate_benchmark("svamp", source).available is is_available


def test_a_model_is_followed_back_to_where_it_came_from(tiny_base: Path) -> None:
    overrides = [
        f"+model.others.mine=folder:{tiny_base}",
        "+model.adapted.tuned={parent: mine, adapter: 'folder:/nowhere'}",
        "+quantize.rounded.tuned-rtn4={parent: tuned, method: rtn, bits: 4}",
    ]
    params = parse_params(compose(["recipe=grpo", *overrides], CONF), where="test")
    roots = {name: root_of(params, name) for name in ("tuned-rtn4", "tuned", "mine")}
    assert set(roots.values()) == {"mine"}
    assert source_of(params, "tuned-rtn4") == f"folder:{tiny_base}"
    for name in ("base", "dealt", "uniform-grpo", "adaptive-gptq4"):
        assert root_of(params, name) == "base"
    assert source_of(params, "adaptive-gptq4") == params.model.base
    assert from_elsewhere(params) == {"base", "mine", "tuned"}
    found = locate_all(params.model.model_copy(update={"adapted": {}}), params.prepare)
    assert [item.name for item in found][:2] == ["model", "model mine"]
    with pytest.raises(ValueError, match=r"^model\.adapted\.tuned\.adapter: '/nowhere': no such"):
        list(locate_all(params.model, params.prepare))
