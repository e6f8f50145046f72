"""Model-written programs per second: our sandbox against the SDAT authors' executor.

The peer is their method (``utils.execute_code`` of their repository): Black formats the text, which
becomes the body of a function that one process of a pool executes with the evaluator's own rights,
one program at a time, with redirected output. Both sides stop a program after one second, the limit
of their evaluation. Programs are those of the GSM8K results in ``$SDAT_RESULTS`` (a folder in the
authors' layout) or, if that is not set, the ladder's reference programs. ``same_output`` is the
share of programs with the same output on both sides.

    python -m benchmarks.programs
"""

import io
import multiprocessing
import os
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import black

from benchmarks.report import print_line, run_sides
from stages.lib.data.ladder import RUNGS, sample_ladder
from stages.lib.grading.grader import extract_program
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import model_response
from stages.lib.sandbox.pool import run_programs
from tools.replicate.results import read_results

TIMEOUT_S = 1.0
PER_RUNG = 50


def load_programs() -> list[str]:
    """Return the programs to run."""
    if folder := os.environ.get("SDAT_RESULTS"):
        texts = [
            case.row.output
            for case in read_results(Path(folder), print)
            if (case.benchmark, case.prompting) == ("gsm8k", "pot")
        ]
    else:
        problems = sample_ladder(list(RUNGS), per_rung=PER_RUNG, seed=1)
        texts = [model_response(problem, "pot") for problem in problems]
    return [program for text in texts if (program := extract_program(text))]


def measure_ours() -> dict[str, Any]:
    """Run them in the sandbox, with the limits of ``params.yaml``."""
    limits, texts = load_params().sandbox, load_programs()
    started = time.monotonic()
    results = run_programs(
        texts, timeout_s=TIMEOUT_S, memory_mb=limits.memory_mb, workers=limits.workers
    )
    seconds = time.monotonic() - started
    printed = [result.stdout.strip() if result.status == "ok" else None for result in results]
    return {"rate": len(texts) / seconds, "printed": printed}


def measure_peer() -> dict[str, Any]:
    """Run them as the authors do, in an empty folder."""
    texts, printed = load_programs(), []
    with TemporaryDirectory() as folder:
        pool = multiprocessing.Pool(1, os.chdir, [folder])
        pool.apply(execute, ["print(0)"])
        started = time.monotonic()
        for text in texts:
            try:
                printed.append(pool.apply_async(execute, [text]).get(timeout=TIMEOUT_S))
            except multiprocessing.TimeoutError:
                printed.append(None)
                pool.terminate()  # otherwise its process would keep running the program
                pool = multiprocessing.Pool(1, os.chdir, [folder])
        seconds = time.monotonic() - started
        pool.terminate()
    return {"rate": len(texts) / seconds, "printed": printed}


def execute(text: str) -> str | None:
    """Return what a program prints, or None if it fails."""
    body = "\n".join(f"    {line}" for line in text.split("\n"))
    output = io.StringIO()
    try:
        black.format_str(text, mode=black.Mode())  # raises if Black cannot parse the text
        with redirect_stdout(output):
            exec(f"def run_it():\n{body}\nrun_it()", {})
    except Exception:  # a program may raise anything
        return None
    return output.getvalue().strip()


def main() -> None:
    """Measure both sides."""
    first, second = run_sides("benchmarks.programs", ours=measure_ours, peer=measure_peer)
    pairs = list(zip(first["printed"], second["printed"], strict=True))
    print_line(
        "programs",
        ours=first["rate"],
        peer=second["rate"],
        unit="programs/s",
        against="black and exec in a pool",
        better="more",
        programs=len(pairs),
        same_output=round(sum(a == b for a, b in pairs) / len(pairs), 3),
    )


if __name__ == "__main__":
    main()
