"""Benchmarks of the Hub, from a made-up cache in the Hub's own layout."""

from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.lib.hub import SOURCES, fetch
from stages.lib.params.data import SuiteSource
from stages.lib.suite import LAYOUTS, read_suite
from stages.prepare import _benchmark
from tests.lib.test_suite import AQUA, MMLU, SVAMP

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
    for number, name in enumerate(source.files):
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
    assert len(problems) == len(SOURCES[benchmark].files)
    assert {problem.source for problem in problems} == {benchmark}


def test_prepare_takes_it_from_there(cache: Path) -> None:
    put(cache, "aqua", AQUA)
    wanted = SuiteSource(source="aqua", path="hub", size="all")
    (problem,) = _benchmark(wanted, [], seed=1)
    assert problem.choices == ["3", "4", "none of (A) and (B)"]


def test_a_file_out_of_reach_names_the_command_that_fetches_it(cache: Path) -> None:
    with pytest.raises(OSError, match="hf download deepmind/aqua_rat raw/test-00000-of-00001.par"):
        fetch("aqua")
    assert not list(cache.rglob("*.parquet"))


def test_a_benchmark_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"prepare\.benchmarks: sat: not on the Hub"):
        fetch("sat")
