"""Data sets of the Hub, from a made-up cache in the Hub's own layout, and what it may refuse."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from stages.lib.data.build import build_datasets
from stages.lib.data.sdat_suite import LAYOUTS, read_suite
from stages.lib.formats.files import files_of
from stages.lib.params.data import FileSource, Overlap, Prepare, SuiteSource
from stages.lib.provenance import hub
from stages.lib.provenance.hub import SOURCES, HubFiles, fetch, files_at
from tests.lib.data.test_sdat_suite import AQUA, MMLU, SVAMP
from tests.lib.formats.test_read import SANDBOX

ROWS = {"aqua": AQUA, "svamp": SVAMP} | {name: MMLU for name in LAYOUTS if name.startswith("mmlu_")}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the Hub, which nothing outside is asked to fill."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, benchmark: str, row: dict[str, Any]) -> None:
    source = SOURCES[benchmark]
    folder = cache / f"datasets--{source.repository.replace('/', '--')}"
    for number, name in enumerate(source.patterns):
        path = folder / "snapshots" / source.revision / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "Question" if "Question" in row else "question"
        pq.write_table(pa.Table.from_pylist([row | {text: f"{row[text]} ({number})"}]), path)


@pytest.mark.parametrize("benchmark", SOURCES)
def test_a_benchmark_is_read_from_all_its_files_at_its_revision(
    cache: Path, benchmark: str
) -> None:
    put(cache, benchmark, ROWS[benchmark])
    problems = read_suite(benchmark, *fetch(benchmark))
    assert len(problems) == len(SOURCES[benchmark].patterns)
    assert {problem.source for problem in problems} == {benchmark}


def test_prepare_takes_it_from_there(cache: Path) -> None:
    put(cache, "aqua", AQUA)
    wanted = SuiteSource(source="aqua", path="hub", size="all")
    settings = Prepare(
        seed=1,
        rungs=["sum-2x1"],
        train=[FileSource(source="file", path="conf/questions.jsonl")],
        demonstrations=0,
        benchmarks={"choices": wanted},
        overlap=Overlap(words=8, template_words=8),
    )
    _, (part,) = build_datasets(settings, SANDBOX)
    assert [one.choices for one in part.problems] == [["3", "4", "none of (A) and (B)"]]
    assert (part.origin.where, part.origin.revision) == (
        SOURCES["aqua"].repository,
        SOURCES["aqua"].revision,
    )


def test_a_file_out_of_reach_names_the_command_that_fetches_it(cache: Path) -> None:
    with pytest.raises(OSError, match="hf download deepmind/aqua_rat raw/test-00000-of-00001.par"):
        fetch("aqua")
    assert not list(cache.rglob("*.parquet"))


def test_a_benchmark_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"prepare\.benchmarks: sat: not on the Hub"):
        fetch("sat")


COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = [f"data/train-{number}-of-2.parquet" for number in range(2)]


def of(repository: str, pattern: str) -> HubFiles:
    return HubFiles(repository, COMMIT, (pattern,), "dataset")


@pytest.fixture
def snapshot(cache: Path) -> Path:
    """Return the snapshot of a data set in the cache, two of its shards and its card."""
    folder = cache / "datasets--org--rows" / "snapshots" / COMMIT
    for name in [*SHARDS, "data/test-0-of-1.parquet", "README.md"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"rows")
    return folder


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("data/train-*.parquet", SHARDS),
        ("*-0-of-*.parquet", ["data/test-0-of-1.parquet", SHARDS[0]]),
        (SHARDS[1], SHARDS[1:]),
    ],
)
def test_files_of_a_pattern_come_from_the_cache(
    pattern: str, names: list[str], snapshot: Path
) -> None:
    assert files_of(f"hub:org/rows@{COMMIT}/{pattern}") == [snapshot / name for name in names]


def test_other_files_than_rows_are_refused(snapshot: Path) -> None:
    with pytest.raises(ValueError, match=r"README\.md: expected a file of \.json"):
        files_of(f"hub:org/rows@{COMMIT}/README.md")


@pytest.mark.parametrize("repository", ["org/rows", "org/other"])
def test_what_is_not_in_the_cache_names_its_command(repository: str, snapshot: Path) -> None:
    command = (
        f"run `hf download {repository} --revision {COMMIT} --repo-type dataset "
        f"--include 'data/valid*'`"
    )
    with pytest.raises(OSError, match=re.escape(command)):
        files_at(of(repository, "data/valid*"))


def test_a_snapshot_that_lacks_a_file_of_the_pattern_is_not_enough(snapshot: Path) -> None:
    listing = {"format_version": 1, "files": {name: {"size": 4, "blob_id": "0"} for name in SHARDS}}
    trees = snapshot.parents[1] / "trees"
    trees.mkdir()
    (trees / f"{COMMIT}.json").write_text(json.dumps(listing))
    assert len(files_at(of("org/rows", "data/train*"))) == 2
    (snapshot / SHARDS[0]).unlink()
    with pytest.raises(OSError, match="not in the Hub's cache"):
        files_at(of("org/rows", "data/train*"))


@pytest.mark.parametrize(
    ("names", "kind", "pattern", "missing"),
    [
        (["a-0-of-3.json"], "dataset", "a-*", ["a-1-of-3.json", "a-2-of-3.json"]),
        (["a-0-of-3.json"], "dataset", "a-0-*", []),
        (["a-02-of-02.json", "b-0-of-1.json"], "dataset", "*", ["a-01-of-02.json"]),
        (["x/a-0-of-2.json", "y/a-1-of-2.json"], "dataset", "x/*", ["x/a-1-of-2.json"]),
        (["m-1-of-3.safetensors"], "model", "m-[12]*", ["m-2-of-3.safetensors"]),
        (["m-1-of-2.safetensors", "m-2-of-2.safetensors"], "model", "*", []),
    ],
)
def test_shards_tell_how_many_they_are(
    names: list[str], kind: Any, pattern: str, missing: list[str], cache: Path
) -> None:
    wanted = HubFiles("org/rows", COMMIT, (pattern,), kind)
    for name in names:
        path = wanted.folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert (wanted.missing(), wanted.is_there()) == (missing, not missing)


def test_shards_that_the_cache_lacks_are_named(cache: Path) -> None:
    wanted = of("org/rows", "data/train-*")
    path = wanted.folder() / "data/train-00003-of-00007.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    named = ", ".join(f"data/train-0000{number}-of-00007.parquet" for number in (0, 1, 2, 4))
    with pytest.raises(OSError) as error:
        files_at(wanted)
    assert str(error.value) == (
        f"org/rows@{COMMIT}: {named} and 2 more: not in the Hub's cache; with network access, "
        f"run `{wanted.command()}` first"
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (GatedRepoError, 403),
        (RepositoryNotFoundError, 401),
        (HfHubHTTPError, 401),
        (HfHubHTTPError, 403),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_refusal_says_how_to_get_access(
    kind: type[HfHubHTTPError], status: int, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = httpx2.Request("GET", "https://huggingface.co/api/datasets/org/gated")

    def refuse(*_: object, **__: object) -> None:
        refusal = kind("No.", response=httpx2.Response(status, request=request))
        if wrapped:
            raise hub.LocalEntryNotFoundError("not found") from refusal
        raise refusal

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(OSError, match=r"terms on https.*/datasets/org/gated, .*`hf auth login`"):
        files_at(of("org/gated", "*.parquet"))


def test_another_failure_of_the_hub_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    request = httpx2.Request("GET", "https://huggingface.co/api/datasets/org/rows")

    def fail(*_: object, **__: object) -> None:
        raise HfHubHTTPError("Busy.", response=httpx2.Response(503, request=request))

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(OSError, match="run `hf download org/rows"):
        files_at(of("org/rows", "*.parquet"))
