"""Data sets of the Hub: read from a cache in the Hub's own layout, downloaded, or refused."""

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
from stages.lib.formats.files import find_files
from stages.lib.params.data import FileSource, Overlap, Prepare, SuiteSource
from stages.lib.provenance import hub
from stages.lib.provenance.hub import BENCHMARK_FILES, HubFiles, fetch_benchmark, fetch_files
from tests.lib.data.test_sdat_suite import AQUA, MMLU, SVAMP
from tests.lib.formats.test_read import SANDBOX

ROWS = {"aqua": AQUA, "svamp": SVAMP} | {name: MMLU for name in LAYOUTS if name.startswith("mmlu_")}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = [f"data/train-{number}-of-2.parquet" for number in range(2)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the Hub, which is out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def dataset(pattern: str, repository: str = "org/rows") -> HubFiles:
    return HubFiles(repository, COMMIT, (pattern,), "dataset")


def put(files: HubFiles, *names: str) -> Path:
    """Put empty files in the cache, and return their snapshot's folder."""
    for name in names:
        path = files.folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return files.folder()


def put_benchmark(benchmark: str) -> None:
    files, row = BENCHMARK_FILES[benchmark], ROWS[benchmark]
    key = "Question" if "Question" in row else "question"
    folder = put(files, *files.patterns)
    for number, name in enumerate(files.patterns):
        table = pa.Table.from_pylist([row | {key: f"{row[key]} ({number})"}])
        pq.write_table(table, folder / name)


@pytest.mark.parametrize("benchmark", BENCHMARK_FILES)
def test_a_benchmark_is_read_from_all_its_files_at_its_revision(benchmark: str) -> None:
    put_benchmark(benchmark)
    problems = read_suite(benchmark, *fetch_benchmark(benchmark))
    assert len(problems) == len(BENCHMARK_FILES[benchmark].patterns)
    assert {problem.source for problem in problems} == {benchmark}


def test_prepare_takes_it_from_there() -> None:
    put_benchmark("aqua")
    settings = Prepare(
        seed=1,
        rungs=["sum-2x1"],
        train=[FileSource(source="file", path="conf/questions.jsonl")],
        demonstrations=0,
        benchmarks={"choices": SuiteSource(source="aqua", path="hub", size="all")},
        overlap=Overlap(words=8, template_words=8),
    )
    _, (part,) = build_datasets(settings, SANDBOX)
    (problem,) = part.rows.problems
    assert problem.choices == ["3", "4", "none of (A) and (B)"]
    assert (part.provenance.where, part.provenance.revision) == (
        BENCHMARK_FILES["aqua"].repository,
        BENCHMARK_FILES["aqua"].revision,
    )


def test_a_missing_benchmark_names_the_command_that_downloads_it(cache: Path) -> None:
    with pytest.raises(OSError, match="hf download deepmind/aqua_rat .*--include 'raw/test-00000-"):
        fetch_benchmark("aqua")
    assert not list(cache.rglob("*.parquet"))


def test_a_benchmark_lacks_none_of_its_files() -> None:
    train, test = BENCHMARK_FILES["svamp"].patterns
    put(BENCHMARK_FILES["svamp"], train)
    with pytest.raises(OSError, match=f"no file matches {test}"):
        fetch_benchmark("svamp")


def test_a_benchmark_that_the_hub_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"prepare\.benchmarks: sat: not on the Hub"):
        fetch_benchmark("sat")


@pytest.fixture
def snapshot() -> Path:
    """Return the snapshot of a data set in the cache: two shards, another file and its card."""
    return put(dataset("*"), *SHARDS, "data/test-0-of-1.parquet", "README.md")


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
    assert find_files(f"hub:org/rows@{COMMIT}/{pattern}") == [snapshot / name for name in names]


def test_other_files_than_rows_are_refused(snapshot: Path) -> None:
    with pytest.raises(ValueError, match=r"README\.md: expected a file of \.json"):
        find_files(f"hub:org/rows@{COMMIT}/README.md")


@pytest.mark.parametrize("repository", ["org/rows", "org/other"])
def test_what_is_not_in_the_cache_names_its_command(repository: str, snapshot: Path) -> None:
    command = (
        f"run `hf download {repository} --revision {COMMIT} --repo-type dataset "
        f"--include 'data/valid*'`"
    )
    with pytest.raises(OSError, match=re.escape(command)):
        fetch_files(dataset("data/valid*", repository))


def test_a_snapshot_that_lacks_a_file_of_the_pattern_is_not_enough(snapshot: Path) -> None:
    listing = {"format_version": 1, "files": {name: {"size": 4, "blob_id": "0"} for name in SHARDS}}
    trees = snapshot.parents[1] / "trees"
    trees.mkdir()
    (trees / f"{COMMIT}.json").write_text(json.dumps(listing))
    assert len(fetch_files(dataset("data/train*"))) == 2
    (snapshot / SHARDS[0]).unlink()
    with pytest.raises(OSError, match="not in the Hub's cache"):
        fetch_files(dataset("data/train*"))


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
    names: list[str], kind: Any, pattern: str, missing: list[str]
) -> None:
    files = HubFiles("org/rows", COMMIT, (pattern,), kind)
    put(files, *names)
    assert (files.missing_shards(), files.is_cached()) == (missing, not missing)


def test_shards_that_the_cache_lacks_are_named() -> None:
    files = dataset("data/train-*")
    put(files, "data/train-00003-of-00007.parquet")
    names = ", ".join(f"data/train-0000{number}-of-00007.parquet" for number in (0, 1, 2, 4))
    with pytest.raises(OSError) as error:
        fetch_files(files)
    assert str(error.value) == (
        f"org/rows@{COMMIT}: {names} and 2 more: not in the Hub's cache; with network access, "
        f"run `{files.download_command()}` first"
    )


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch, cause: Exception | None) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error from cause

    monkeypatch.setattr(hub, "snapshot_download", fail)


def refusal(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    request = httpx2.Request("GET", "https://huggingface.co/api/datasets/org/gated")
    return kind("No.", response=httpx2.Response(status, request=request))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (GatedRepoError, 403),
        (RepositoryNotFoundError, 401),
        (HfHubHTTPError, 401),
        (HfHubHTTPError, 403),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_refusal_says_how_to_get_access(
    kind: type[HfHubHTTPError], status: int, is_wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(kind, status)
    if is_wrapped:
        fail_with(hub.LocalEntryNotFoundError("not found"), monkeypatch, error)
    else:
        fail_with(error, monkeypatch, None)
    with pytest.raises(OSError, match=r"terms on https.*/datasets/org/gated, .*`hf auth login`"):
        fetch_files(dataset("*.parquet", "org/gated"))


def test_another_failure_of_the_hub_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(refusal(HfHubHTTPError, 503), monkeypatch, None)
    with pytest.raises(OSError, match="run `hf download org/rows"):
        fetch_files(dataset("*.parquet"))


def test_a_commit_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(refusal(hub.RevisionNotFoundError, 404), monkeypatch, None)
    with pytest.raises(OSError, match=f"org/rows@{COMMIT}: the data set has no such commit"):
        fetch_files(dataset("*.parquet"))
