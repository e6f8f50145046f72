"""Seconds of the whole default run, as its stages recorded them, against ten minutes.

python -m benchmarks.default_run
"""

from benchmarks.report import print_line
from stages.lib.params.load import load_params
from stages.lib.report.facts import timings

ALLOWED_S = 600.0


def main() -> None:
    """Sum the seconds of the last run's stages and print the line."""
    stages = timings(load_params())
    print_line(
        "default run",
        ours=sum(stage["seconds"] for stage in stages),
        peer=ALLOWED_S,
        unit="s",
        against="the aim",
        better="less",
        peak_mib=max(stage["peak_mib"] for stage in stages),
    )


if __name__ == "__main__":
    main()
