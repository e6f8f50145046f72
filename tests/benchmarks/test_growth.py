"""How costs grow: the fit, the costs of a command, and the generated inputs."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from math import log
from pathlib import Path
from subprocess import CalledProcessError

import pytest
import yaml

from benchmarks import growth
from benchmarks.growth import Measurement, exponents, merge_with_saved, table, timed
from benchmarks.growth_fit import fit
from benchmarks.growth_problems import OVERLAPPING, ROWS, make_problems, make_rows, make_tables
from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, PARAMS, TABLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem
from stages.lib.core.tables import read_parquet, write_csv
from stages.lib.data import packaged
from stages.lib.data.decontamination import find_overlaps
from stages.lib.formats.read import load_rows
from stages.lib.params.load import load_params

SIZES = [1_000, 10_000, 100_000, 1_000_000]
RUN = Measurement("weigh", 1_000, seconds=4.0, cpu_seconds=3.5, peak_mib=512, load=0.1)


@pytest.mark.parametrize(
    ("cost", "start", "exponent"),
    [
        pytest.param(lambda n: 2 + 1e-3 * n, 2, 1, id="straight, behind a start"),
        pytest.param(lambda n: 5 + 1e-9 * n**2, 5, 2, id="quadratic"),
        pytest.param(lambda n: 0.01 * n**0.5, 0, 0.5, id="less than straight, no start"),
        pytest.param(lambda n: 3 + 1e-8 * n, 3, 0, id="a hundredth more is no growth"),
    ],
)
def test_start_and_exponent_are_found_again(
    cost: Callable[[int], float], start: float, exponent: float
) -> None:
    fitted = fit(SIZES, [cost(n) for n in SIZES])
    assert fitted is not None
    assert fitted.start == pytest.approx(start, rel=0.01, abs=0.01)
    assert fitted.exponent == pytest.approx(exponent, abs=0.001)


def test_sorting_is_within_the_aim() -> None:
    # From 100k to 1M rows n log n grows by 10 * 6 / 5, an exponent of log10(12) = 1.08.
    fitted = fit(SIZES, [2 + 1e-5 * n * log(n) for n in SIZES])
    assert fitted is not None
    assert fitted.exponent == pytest.approx(1.08, abs=0.01)
    assert fitted.exponent < growth.AIM


def test_two_sizes_fix_no_exponent() -> None:
    assert fit(SIZES[:2], [1, 2]) is None


def from_a_small_process(script: str, folder: Path) -> list[float]:
    """Return what ``timed`` measures in a small parent process: peak memory is inherited."""
    timing = (
        "import json, sys; from pathlib import Path; from benchmarks.growth import timed; "
        f"print(json.dumps(timed([sys.executable, '-c', {script!r}], Path({str(folder)!r}))))"
    )
    return json.loads(subprocess.check_output([sys.executable, "-c", timing]))


def test_memory_of_children_at_once_is_added(tmp_path: Path) -> None:
    child = "import sys; memory = bytearray(b'1' * 2**27); print(flush=True); sys.stdin.read()"
    parent = (
        "import subprocess as s, sys, time\n"
        f"children = [s.Popen([sys.executable, '-c', {child!r}], stdin=s.PIPE, stdout=s.PIPE)"
        " for _ in '12']\n"
        "for child in children: child.stdout.readline()\n"
        f"time.sleep({4 * growth.POLL_S})\n"
        "for child in children: child.communicate()"
    )
    seconds, cpu_seconds, peak_mib = from_a_small_process(parent, tmp_path)
    assert min(seconds, cpu_seconds) > 0
    assert 256 <= peak_mib < 1024


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(CalledProcessError):
        timed([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


def test_runs_take_the_place_of_those_of_their_stage_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "RUNS", tmp_path / "growth.csv")
    other = replace(RUN, stage="prepare")
    larger, again = replace(RUN, rows=10_000), replace(RUN, seconds=9.0)
    write_csv(growth.RUNS, [asdict(run) for run in (RUN, other, larger)])
    assert merge_with_saved([again]) == [other, again, larger]


def test_the_table_has_a_row_per_stage_and_a_column_per_size() -> None:
    runs = [replace(RUN, rows=n, seconds=4 + n / 1000, peak_mib=512) for n in SIZES[:3]]
    lines = table(runs, exponents(runs)).splitlines()
    assert lines[0].split(" | ")[1:5] == ["1,000", "10,000", "100,000", "1,000,000"]
    assert lines[2] == (
        "| weigh | 5 s, 0.5 GiB | 14 s, 0.5 GiB | 104 s, 0.5 GiB |  | 1.00 | 0.00 |"
    )


def test_made_rows_are_distinct_problems_of_which_some_overlap(tmp_path: Path) -> None:
    make_rows(tmp_path, 3 * OVERLAPPING)
    settings = load_params(tmp_path / PARAMS)
    loaded = load_rows(
        [tmp_path / ROWS],
        format="orca-math",
        name="made",
        target="problems",
        exclude=[],
        sandbox=settings.sandbox,
    )
    assert len(loaded.problems) == loaded.n_rows == 3 * OVERLAPPING
    assert settings.prepare.benchmarks.keys() == {"ladder", "gsm8k", "math500"}
    overlaps = find_overlaps(
        [problem.question for problem in loaded.problems],
        [problem.question for problem in packaged.gsm8k()],
        n=13,
        mask_numbers=False,
    )
    assert [overlap.training for overlap in overlaps] == [0, OVERLAPPING, 2 * OVERLAPPING]


def test_made_problems_have_their_difficulty_and_a_benchmark(tmp_path: Path) -> None:
    make_tables(tmp_path, 30)
    problems = read_parquet(tmp_path / TRAIN_PROBLEMS, Problem)
    difficulties = read_parquet(tmp_path / DIFFICULTY, Difficulty)
    assert [row.problem_id for row in difficulties] == [row.id for row in problems]
    assert [row.source for row in difficulties] == [row.source for row in problems]
    assert len({problem.id for problem in problems}) == 30
    rungs = yaml.safe_load((tmp_path / PARAMS).read_text(encoding="utf-8"))["prepare"]["rungs"]
    per_rung, rest = divmod(30, len(rungs))
    assert Counter(problem.source for problem in problems) == {
        rung: per_rung + (position < rest) for position, rung in enumerate(rungs)
    }
    assert read_parquet(tmp_path / EVAL_PROBLEMS / "ladder.parquet", Problem) == problems
    assert (tmp_path / TABLES / "accuracy.csv").exists()


def test_many_rows_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.growth_problems.PART", 7)
    make_problems(tmp_path, 20)
    assert [problem.id for problem in read_parquet(tmp_path / TRAIN_PROBLEMS, Problem)] == [
        f"{number:016x}" for number in range(20)
    ]
