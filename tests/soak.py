"""Full runs of the small pipeline under random faults: each must end right, or say why not.

For every seed: a copy of an undisturbed run with a hole (what one to three neighbouring
stages made, sometimes all, is gone from the workspace, dvc.lock, DVC's cache and its cache
of runs), one fault (``tests.faults``), ``dvc repro``, the fault undone, and ``dvc repro``
again, which must end right. The stages after the hole run too where they depend on
what tells time, as ``paper`` does. ``tests.ends`` says what right is, and what a clear line.

Root is needed, to mount; in a namespace of its own nobody else sees the mounts:

    unshare --mount python -m tests.soak --first 1 --runs 50 \
        --folder /tmp/soak --csv reports/benchmarks/soak.csv
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
from tests.ends import clear_line, differing, half_written
from tests.faults import FAULTS, Damaged, Fault, Killed, Place
from tests.repro import Run
from tests.whole import Whole

COLUMNS = [
    *["seed", "from", "to", "fault", "where", "ended", "line", "seconds"],
    *["then", "then_seconds"],
]
PATIENCE_S = 900
LEAVING_S = 15
MARK = "UPHILL_SOAK"


def trial(seed: int, whole: Whole, folder: Path, clock: Path) -> list[str | int | float]:
    """Do one run under one fault and one after it, and return a row of the table."""
    rng = random.Random(seed)
    kind = rng.choice(list(FAULTS))
    names = _hole(rng, list(whole.seconds), at_least=2 if kind == "damaged cache" else 0)
    seconds = {name: whole.seconds[name] for name in names}
    place = Place(folder, seconds, whole.inputs(names), whole.growth(names), clock)
    mark = {MARK: str(seed)}
    folder.mkdir(parents=True)
    fault = FAULTS[kind](rng, place)
    try:
        whole.cut(folder, names)
        fault.prepare()
        fault.environment |= mark
        run = Run(folder, folder.parent / "first.txt", fault.environment)
        began = time.monotonic()
        fault.strike(run)
        ended, line = _end(run, fault, whole)
        middle = time.monotonic()
        fault.undo()
        again = Run(folder, folder.parent / "then.txt", mark)
        then = ": ".join(part for part in _end(again, Fault(rng, place), whole) if part)
        times = [round(middle - began, 1), round(time.monotonic() - middle, 1)]
        if "wrong" in ended + then:
            shutil.copytree(folder / "logs", folder.parent / "logs")
    finally:
        fault.leave()
        shutil.rmtree(folder)
    row = [seed, names[0], names[-1], kind, fault.where, ended, line, times[0], then, times[1]]
    return [one.replace(f"{folder}/", "") if isinstance(one, str) else one for one in row]


def _hole(rng: random.Random, stages: list[str], at_least: int) -> list[str]:
    """Return the stages that are to run: one time in twelve all that can, else one to three."""
    if rng.random() < 1 / 12:
        return stages[at_least:]
    first = rng.randrange(at_least, len(stages))
    return stages[first : first + rng.choice([1, 1, 1, 2, 2, 3])]


def _end(run: Run, fault: Fault, whole: Whole) -> tuple[str, str]:
    """Wait until a run, and a second one beside it, are over, and judge them."""
    runs = [run, fault.second] if fault.second else [run]
    try:
        for one in runs:
            one.process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        _leave(fault.environment.get(MARK, ""), 0)
        return "wrong", f"not over after {PATIENCE_S} s"
    left = _leave(fault.environment.get(MARK, ""), LEAVING_S)
    if left:
        return "wrong", f"left behind: {left}"
    ends = [_judge(one, fault, whole) for one in runs]
    return " + ".join(end for end, _ in ends), "; ".join(line for _, line in ends if line)


def _judge(run: Run, fault: Fault, whole: Whole) -> tuple[str, str]:
    folder = fault.place.folder
    damaged = fault.file if isinstance(fault, Damaged) else ""
    if not run.process.returncode:
        different = differing(folder, whole.folder, whole.outs)
        if different == [damaged]:
            return "right", "nothing but the damaged file differs"
        return ("wrong", f"differs: {', '.join(different[:4])}") if different else ("right", "")
    broken = half_written(folder, whole.folder, whole.outs, apart=damaged)
    if broken:
        return "wrong", f"half written: {broken}"
    line = clear_line(run.said)
    if isinstance(fault, Killed) and not fault.alone:
        return "stopped", line
    return ("one line", line) if line else ("wrong", f"no clear line: {run.said[-300:]!r}")


def _leave(mark: str, patience_s: float) -> str:
    """Return the commands that still run so long after their run, having ended them."""
    until = time.monotonic() + patience_s
    while (left := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    said = "; ".join(" ".join(one.cmdline()[:4]) for one in left)
    for one in left:
        one.send_signal(signal.SIGKILL)
    return said


def _marked(mark: str) -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["environ", "status"])
        if mark
        and (one.info["environ"] or {}).get(MARK) == mark
        and one.info["status"] != psutil.STATUS_ZOMBIE
    ]


def main() -> None:
    """Do the runs of some seeds, and append a row for each to the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for the copies, on a disk")
    given = parser.parse_args()
    # A shell's background jobs ignore Ctrl-C, and so would the runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = given.folder.resolve()
    whole = Whole(folder)
    clock = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", clock, source], check=True)
    if not given.csv.exists():
        given.csv.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for seed in range(given.first, given.first + given.runs):
        row = trial(seed, whole, folder / f"{seed:03d}" / "clone", clock)
        with given.csv.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow(row)
        log_line(" | ".join(map(str, row)))


if __name__ == "__main__":
    main()
