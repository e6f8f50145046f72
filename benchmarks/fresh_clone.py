"""Minutes of ``make setup``, or of ``make test`` after it, in a fresh clone, against the aim.

The clone is of the last commit. ``setup`` downloads every package of the lock again unless pip has
it in its cache.

    python -m benchmarks.fresh_clone setup
    python -m benchmarks.fresh_clone test
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import print_line

AIMS_MIN = {"setup": 2.0, "test": 6.0}


def measure(target: str) -> float:
    """Return the minutes of a target, without what it depends on."""
    with TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", Path.cwd(), clone], check=True)
        if target != "setup":
            subprocess.run(["make", "setup"], cwd=clone, stdout=sys.stderr, check=True)
        started = time.monotonic()
        subprocess.run(["make", target], cwd=clone, stdout=sys.stderr, check=True)
        return (time.monotonic() - started) / 60


def main() -> None:
    """Measure the target that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in AIMS_MIN:
        sys.exit(f"expected one of {list(AIMS_MIN)}")
    target = sys.argv[1]
    print_line(
        f"make {target}",
        ours=measure(target),
        peer=AIMS_MIN[target],
        unit="min",
        against="the aim",
        better="less",
    )


if __name__ == "__main__":
    main()
