"""Run the mini pipeline under random faults: each run must end right or say clearly why not.

For every seed: take a copy of an undisturbed run without the outputs of one to three
neighbouring stages (sometimes of all), inject one fault (``faults``) into ``dvc repro``, undo
the fault, and run ``dvc repro`` again, which must end right. ``endings`` judges both.

Root is needed, to mount file systems. In a namespace of its own nobody else sees them:

    unshare --mount python -m tests.fault_injection --first 1 --runs 50 \
        --folder /tmp/faults --csv reports/benchmarks/soak.csv
"""

import argparse
import csv
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil

from stages.lib.runtime.console import log_line
from tests.fault_injection.endings import clear_line, differing, half_written
from tests.fault_injection.faults import FAULTS, Damaged, Fault, Killed, Site
from tests.fault_injection.full_run import FullRun
from tests.fault_injection.running import Run

COLUMNS = [
    *["seed", "from", "to", "fault", "where", "ended", "line", "seconds"],
    *["then", "then_seconds"],
]
PATIENCE_S = 900
LEAVING_S = 15
MARK = "UPHILL_SOAK"


def trial(seed: int, full: FullRun, folder: Path, clock: Path) -> list[str | int | float]:
    """Do one run under one fault and one after it, and return a row of the table."""
    rng = random.Random(seed)
    kind = rng.choice(list(FAULTS))
    names = _hole(rng, list(full.seconds), at_least=2 if kind == "damaged cache" else 0)
    seconds = {name: full.seconds[name] for name in names}
    site = Site(folder, seconds, full.inputs(names), full.growth(names), clock)
    mark = {MARK: str(seed)}
    folder.mkdir(parents=True)
    fault = FAULTS[kind](rng, site)
    try:
        full.cut(folder, names)
        fault.prepare()
        fault.environment |= mark
        run = Run(folder, folder.parent / "first.txt", fault.environment)
        started = time.monotonic()
        fault.strike(run)
        ended, line = _end(run, fault, full)
        middle = time.monotonic()
        fault.undo()
        again = Run(folder, folder.parent / "then.txt", mark)
        then = ": ".join(part for part in _end(again, Fault(rng, site), full) if part)
        times = [round(middle - started, 1), round(time.monotonic() - middle, 1)]
        # The folder is deleted below, and only its logs can explain a wrong ending.
        if "wrong" in ended + then:
            shutil.copytree(folder / "logs", folder.parent / "logs")
    finally:
        fault.leave()
        shutil.rmtree(folder)
    row = [seed, names[0], names[-1], kind, fault.where, ended, line, times[0], then, times[1]]
    return [cell.replace(f"{folder}/", "") if isinstance(cell, str) else cell for cell in row]


def _hole(rng: random.Random, stages: list[str], at_least: int) -> list[str]:
    """Return the stages that are to run: one time in twelve all that can, else one to three."""
    if rng.random() < 1 / 12:
        return stages[at_least:]
    first = rng.randrange(at_least, len(stages))
    return stages[first : first + rng.choice([1, 1, 1, 2, 2, 3])]


def _end(run: Run, fault: Fault, full: FullRun) -> tuple[str, str]:
    """Wait until a run, and a second one beside it, are over, and judge them."""
    runs = [run, fault.second] if fault.second else [run]
    try:
        for each_run in runs:
            each_run.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        _end_remaining(fault.environment.get(MARK, ""), 0)
        return "wrong", f"not over after {PATIENCE_S} s"
    left = _end_remaining(fault.environment.get(MARK, ""), LEAVING_S)
    if left:
        return "wrong", f"left behind: {left}"
    ends = [_judge(each_run, fault, full) for each_run in runs]
    return " + ".join(end for end, _ in ends), "; ".join(line for _, line in ends if line)


def _judge(run: Run, fault: Fault, full: FullRun) -> tuple[str, str]:
    folder = fault.site.folder
    damaged = fault.file if isinstance(fault, Damaged) else ""
    if not run.process.returncode:
        different = differing(folder, full.folder, full.outs)
        if different == [damaged]:
            return "right", "nothing but the damaged file differs"
        return ("wrong", f"differs: {', '.join(different[:4])}") if different else ("right", "")
    broken = half_written(folder, full.folder, full.outs, ignore=damaged)
    if broken:
        return "wrong", f"half written: {broken}"
    line = clear_line(run.output)
    if isinstance(fault, Killed) and not fault.alone:
        return "stopped", line
    return ("one line", line) if line else ("wrong", f"no clear line: {run.output[-300:]!r}")


def _end_remaining(mark: str, patience_s: float) -> str:
    """Return the commands that still run so long after their run, having ended them."""
    until = time.monotonic() + patience_s
    while (left := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    commands = "; ".join(" ".join(process.cmdline()[:4]) for process in left)
    for process in left:
        process.send_signal(signal.SIGKILL)
    return commands


def _marked(mark: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["environ", "status"])
        if mark
        and (process.info["environ"] or {}).get(MARK) == mark
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def main() -> None:
    """Do the runs of some seeds, and append a row for each to the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection")
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for the copies, on a disk")
    options = parser.parse_args()
    # A shell's background jobs ignore Ctrl-C, and so would the runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = options.folder.resolve()
    full = FullRun(folder)
    clock = folder / "clock.so"
    source = Path(__file__).with_name("fake_clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", clock, source], check=True)
    if not options.csv.exists():
        options.csv.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for seed in range(options.first, options.first + options.runs):
        row = trial(seed, full, folder / f"{seed:03d}" / "clone", clock)
        with options.csv.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(row)
        log_line(" | ".join(map(str, row)))


if __name__ == "__main__":
    main()
