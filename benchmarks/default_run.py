"""Seconds of the whole default run, as its stages recorded them, against fifteen minutes.

python -m benchmarks.default_run
"""

from benchmarks.report import line
from stages.lib.core.files import read_json
from stages.lib.core.paths import TIMINGS

ALLOWED_S = 900.0


def main() -> None:
    """Sum the seconds of the last run's stages and print the line."""
    stages = [read_json(path) for path in sorted(TIMINGS.glob("*.json"))]
    print(
        line(
            "default run",
            ours=sum(stage["seconds"] for stage in stages),
            peer=ALLOWED_S,
            unit="s",
            against="the aim",
            better="less",
            peak_mib=max(stage["peak_mib"] for stage in stages),
        )
    )


if __name__ == "__main__":
    main()
