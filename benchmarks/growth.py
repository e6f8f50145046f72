"""How the time and the memory of the CPU stages grow with the number of rows.

Runs ``prepare`` (with the n-gram checks against GSM8K and MATH-500), ``score``, ``weigh``,
``analyze`` and ``figures`` on made rows, each as a process of its own in a folder of its own.
Rows are training problems for ``prepare``, ``weigh`` and ``figures``, generations for
``score`` and ``analyze``. Seconds are by the wall, imports included. Memory is the largest of
one process of the stage, as the kernel counts it, or the largest sum seen over all of them at
once, where that is more. Inputs are made by another process: one begins with its parent's peak.

``reports/benchmarks/growth.csv`` keeps every run, with the seconds of all cores, which say more
on a busy machine, and the load before it (processes that ran or waited, mean of a minute);
runs of stages or sizes not asked for now stay.
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

from benchmarks import growth_answers, growth_problems
from benchmarks.growth_fit import fit
from benchmarks.report import line, machine, write_block
from stages.lib.core.paths import REPORTS
from stages.lib.core.tables import read_csv, write_csv

SIZES = (1_000, 10_000, 100_000, 1_000_000)
AIM = 1.1
EVERY_S = 0.2
KEPT = REPORTS / "benchmarks"
PAGE = Path("docs/measured.md")
RUNS, EXPONENTS = KEPT / "growth.csv", KEPT / "growth_exponents.csv"


@dataclass(frozen=True)
class Stage:
    """A stage's arguments, and what makes its inputs in a folder for a number of rows."""

    make: Callable[[Path, int], None]
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """What a stage took for so many rows, and how busy the machine was before it."""

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


def measure(name: str, rows: int) -> Run:
    """Make a stage's inputs and run it on them."""
    stage = STAGES[name]
    with TemporaryDirectory() as folder:
        maker = get_context("spawn").Process(target=stage.make, args=(Path(folder), rows))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise RuntimeError(f"{name}: the inputs of {rows} rows could not be made")
        load = os.getloadavg()[0]
        seconds, cpu_seconds, peak_mib = timed(
            [sys.executable, "-m", f"stages.{name}", *stage.arguments], Path(folder)
        )
    return Run(name, rows, round(seconds, 1), round(cpu_seconds, 1), peak_mib, round(load, 1))


def timed(command: Sequence[str], folder: Path) -> tuple[float, float, int]:
    """Run a command in a folder; return seconds, CPU seconds and peak memory (MiB) of it all.

    Raises CalledProcessError if it fails.
    """
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    running = subprocess.Popen(command, cwd=folder, env=environment)
    together = 0
    while (ended := os.wait4(running.pid, os.WNOHANG))[0] == 0:
        together = max(together, _together(running.pid))
        time.sleep(EVERY_S)
    seconds = time.perf_counter() - began
    _, status, used = ended
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)
    busy = used.ru_utime + used.ru_stime
    return seconds, busy, max(used.ru_maxrss // 2**10, together // 2**20)


def _together(pid: int) -> int:
    """Return the bytes of a process and its children, pages that they share counted once.

    0 without children: the kernel's own count is exact there.
    """
    try:
        process = psutil.Process(pid)
        family = process.children(recursive=True)
        return sum(_own(one) for one in (process, *family)) if family else 0
    except psutil.NoSuchProcess:
        return 0


def _own(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:
        # The sandbox's workers show others no more than their size, shared pages included.
        return process.memory_info().rss


def kept(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with those of other stages and sizes that were kept, in order."""
    old = [
        Run(
            one["stage"],
            int(one["rows"]),
            float(one["seconds"]),
            float(one["cpu_seconds"]),
            int(one["peak_mib"]),
            float(one["load"]),
        )
        for one in (read_csv(RUNS) if RUNS.exists() else [])
    ]
    of = {(one.stage, one.rows): one for one in [*old, *runs]}
    return sorted(of.values(), key=lambda one: (list(STAGES).index(one.stage), one.rows))


def save(runs: Sequence[Run]) -> None:
    """Keep runs."""
    write_csv(RUNS, [asdict(one) for one in runs])


def exponents(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Return each stage's fits of seconds and of memory, empty where there are too few sizes."""
    rows = []
    for name in dict.fromkeys(one.stage for one in runs):
        own = [one for one in runs if one.stage == name]
        sizes = [one.rows for one in own]
        found = {
            "seconds": fit(sizes, [one.seconds for one in own]),
            "mib": fit(sizes, [one.peak_mib for one in own]),
        }
        row = {"stage": name}
        for what, one in found.items():
            row[f"start_{what}"] = "" if one is None else f"{one.start:.1f}"
            row[f"exponent_{what}"] = "" if one is None else f"{one.exponent:.2f}"
        rows.append(row)
    return rows


def table(runs: Sequence[Run], fits: Sequence[dict[str, str]]) -> str:
    """Return seconds and GiB by stage and size as a Markdown table."""
    head = ["stage", *(f"{size:,}" for size in SIZES), "exponent of time", "of memory"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    of = {(one.stage, one.rows): one for one in runs}
    for one in fits:
        cells = [
            f"{run.seconds:g} s, {run.peak_mib / 1024:.1f} GiB" if run else ""
            for run in (of.get((one["stage"], size)) for size in SIZES)
        ]
        cells = [one["stage"], *cells, one["exponent_seconds"], one["exponent_mib"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Measured on {machine()}."])


def main() -> None:
    """Measure the stages that are asked for, and show the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("stages", nargs="*", choices=list(STAGES), metavar="STAGE")
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="ROWS")
    asked = parser.parse_args()
    sizes = [size for size in SIZES if size <= asked.most]
    for name in asked.stages or STAGES:
        new = [measure(name, size) for size in sizes]
        runs = kept(new)
        fits = exponents(runs)
        save(runs)
        write_csv(EXPONENTS, fits)
        write_block(PAGE, "growth", table(runs, fits))
        (own,) = (one for one in fits if one["stage"] == name)
        if own["exponent_seconds"]:
            print(_line(name, new, own), flush=True)


def _line(name: str, runs: Sequence[Run], found: dict[str, str]) -> str:
    return line(
        f"growth of {name}",
        # There is no ratio to 0, the exponent of what does not grow.
        ours=max(float(found["exponent_seconds"]), 0.01),
        peer=AIM,
        unit="exponent of seconds",
        against="the aim",
        better="less",
        of_memory=found["exponent_mib"],
        rows=[one.rows for one in runs],
        seconds=[one.seconds for one in runs],
        peak_mib=[one.peak_mib for one in runs],
        load=[one.load for one in runs],
    )


if __name__ == "__main__":
    main()
