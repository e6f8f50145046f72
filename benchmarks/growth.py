"""Measure how the time and the memory of the CPU stages grow with the number of rows.

Runs ``prepare`` (with the n-gram checks against GSM8K and MATH-500), ``score``, ``weigh``,
``analyze`` and ``figures`` on generated rows, each in a separate process and folder.
Rows are training problems for ``prepare``, ``weigh`` and ``figures``, generations for
``score`` and ``analyze``. Seconds are wall time, imports included. Memory is the larger of two
peaks: that of the stage's largest process, as the kernel counts it, and that of the sum over all
its processes, sampled. Inputs are generated in a separate process, since peak memory is inherited.

``reports/benchmarks/growth.csv`` keeps every run, with its CPU seconds over all cores, which are
more reliable on a busy machine, and the load before it (running or waiting processes, mean of a
minute). Earlier runs of other stages or sizes stay in it.
``growth_exponents.csv`` has each stage's fit, and ``docs/measured.md`` the table of both.

    python -m benchmarks.growth [STAGE ...] [--most ROWS]
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from pydantic import TypeAdapter

from benchmarks import growth_answers, growth_problems
from benchmarks.growth_fit import fit
from benchmarks.report import machine, print_line, write_block
from stages.lib.core.paths import REPORTS
from stages.lib.core.tables import read_csv, write_csv

SIZES = (1_000, 10_000, 100_000, 1_000_000)
AIM = 1.1
POLL_S = 0.2
RESULTS = REPORTS / "benchmarks"
PAGE = Path("docs/measured.md")
RUNS, EXPONENTS = RESULTS / "growth.csv", RESULTS / "growth_exponents.csv"


@dataclass(frozen=True)
class Stage:
    """A stage's arguments, and the function that writes its inputs for a number of rows."""

    make: Callable[[Path, int], None]
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """The costs of a stage at a number of rows, and the load of the machine before it."""

    stage: str
    rows: int
    seconds: float
    cpu_seconds: float
    peak_mib: int
    load: float


STAGES = {
    "prepare": Stage(growth_problems.make_rows),
    "score": Stage(growth_answers.make_samples),
    "weigh": Stage(growth_problems.make_problems, ("adaptive",)),
    "analyze": Stage(growth_answers.make_answers),
    "figures": Stage(growth_problems.make_tables),
}


def measure(name: str, rows: int) -> Measurement:
    """Generate a stage's inputs and run it on them."""
    stage = STAGES[name]
    with TemporaryDirectory() as folder:
        process = get_context("spawn").Process(target=stage.make, args=(Path(folder), rows))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{name}: the inputs of {rows} rows could not be generated")
        load = os.getloadavg()[0]
        seconds, cpu_seconds, peak_mib = timed(
            [sys.executable, "-m", f"stages.{name}", *stage.arguments], Path(folder)
        )
    return Measurement(
        name, rows, round(seconds, 1), round(cpu_seconds, 1), peak_mib, round(load, 1)
    )


def timed(command: Sequence[str], folder: Path) -> tuple[float, float, int]:
    """Run a command in a folder; return its seconds, CPU seconds and peak memory (MiB).

    CPU seconds and memory include its child processes. Raises CalledProcessError if it fails.
    """
    started = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(command, cwd=folder, env=environment)
    total_bytes = 0
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        total_bytes = max(total_bytes, _family_bytes(process.pid))
        time.sleep(POLL_S)
    seconds = time.perf_counter() - started
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return seconds, cpu_seconds, max(usage.ru_maxrss // 2**10, total_bytes // 2**20)


def _family_bytes(pid: int) -> int:
    """Return the bytes of a process and its children, with shared pages counted once.

    Returns 0 without children, where the kernel's own peak is exact.
    """
    try:
        process = psutil.Process(pid)
        family = process.children(recursive=True)
        return sum(_process_bytes(member) for member in (process, *family)) if family else 0
    except psutil.NoSuchProcess:
        return 0


def _process_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:
        # The sandbox's workers reveal only their resident size, which includes shared pages.
        return process.memory_info().rss


def merge_with_saved(runs: Sequence[Measurement]) -> list[Measurement]:
    """Return the runs and the saved ones of other stages and sizes, in order."""
    saved = TypeAdapter(list[Measurement]).validate_python(read_csv(RUNS) if RUNS.exists() else [])
    by_key = {(run.stage, run.rows): run for run in [*saved, *runs]}
    return sorted(by_key.values(), key=lambda run: (list(STAGES).index(run.stage), run.rows))


def exponents(runs: Sequence[Measurement]) -> list[dict[str, str]]:
    """Return each stage's fits of seconds and memory; empty strings for too few sizes."""
    rows = []
    for name in dict.fromkeys(run.stage for run in runs):
        stage_runs = [run for run in runs if run.stage == name]
        sizes = [run.rows for run in stage_runs]
        fits = {
            "seconds": fit(sizes, [run.seconds for run in stage_runs]),
            "mib": fit(sizes, [run.peak_mib for run in stage_runs]),
        }
        row = {"stage": name}
        for cost, fitted in fits.items():
            row[f"start_{cost}"] = "" if fitted is None else f"{fitted.start:.1f}"
            row[f"exponent_{cost}"] = "" if fitted is None else f"{fitted.exponent:.2f}"
        rows.append(row)
    return rows


def table(runs: Sequence[Measurement], fits: Sequence[dict[str, str]]) -> str:
    """Return seconds and GiB by stage and size as a Markdown table."""
    head = ["stage", *(f"{size:,}" for size in SIZES), "exponent of time", "of memory"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    by_key = {(run.stage, run.rows): run for run in runs}
    for row in fits:
        cells = [
            f"{run.seconds:g} s, {run.peak_mib / 1024:.1f} GiB" if run else ""
            for run in (by_key.get((row["stage"], size)) for size in SIZES)
        ]
        cells = [row["stage"], *cells, row["exponent_seconds"], row["exponent_mib"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Measured on {machine()}."])


def main() -> None:
    """Measure the requested stages and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"default: {', '.join(STAGES)}")
    parser.add_argument(
        "--most", type=int, default=SIZES[-1], metavar="ROWS", help="the largest size to measure"
    )
    args = parser.parse_args()
    # Not ``choices``: before Python 3.12, argparse compares them with the empty list as well.
    if unknown := set(args.stages) - set(STAGES):
        parser.error(f"STAGE: {sorted(unknown)}: expected some of {list(STAGES)}")
    sizes = [size for size in SIZES if size <= args.most]
    for name in args.stages or STAGES:
        new = [measure(name, size) for size in sizes]
        runs = merge_with_saved(new)
        fits = exponents(runs)
        write_csv(RUNS, [asdict(run) for run in runs])
        write_csv(EXPONENTS, fits)
        write_block(PAGE, "growth", table(runs, fits))
        (stage_fit,) = (row for row in fits if row["stage"] == name)
        if stage_fit["exponent_seconds"]:
            print_line(
                f"growth of {name}",
                # The exponent is 0 for a cost that does not grow, and a ratio to 0 is undefined.
                ours=max(float(stage_fit["exponent_seconds"]), 0.01),
                peer=AIM,
                unit="exponent of seconds",
                against="the aim",
                better="less",
                of_memory=stage_fit["exponent_mib"],
                rows=[run.rows for run in new],
                seconds=[run.seconds for run in new],
                peak_mib=[run.peak_mib for run in new],
                load=[run.load for run in new],
            )


if __name__ == "__main__":
    main()
