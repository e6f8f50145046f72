"""Seconds of a ``dvc repro`` with nothing to do, against the 1.5 that are allowed.

python -m benchmarks.pipeline
"""

import subprocess
import time

from benchmarks.report import print_line

ALLOWED_S = 1.5


def main() -> None:
    """Measure the best of three runs, after one that warms the file system's cache."""
    seconds = []
    for _ in range(4):
        started = time.monotonic()
        process = subprocess.run(["dvc", "repro"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - started)
        if "Running stage" in process.stdout:
            raise ValueError("dvc repro: it had something to do; run `make repro` first")
    print_line(
        "no-op repro",
        ours=min(seconds[1:]),
        peer=ALLOWED_S,
        unit="s",
        against="the aim",
        better="less",
    )


if __name__ == "__main__":
    main()
