"""Run every benchmark and write the table in the README.

python -m benchmarks
"""

import json
import subprocess
import sys

from benchmarks.report import README, write_block

NAMES = (
    "sampling",
    "training",
    "padded",
    "programs",
    "overlap",
    "store",
    "pipeline",
    "default_run",
)


def run(name: str) -> dict[str, object]:
    """Run one benchmark, show its line, and return it."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, check=True, text=True
    )
    said = done.stdout.splitlines()[-1]
    print(said, flush=True)
    return json.loads(said)


def table(lines: list[dict[str, object]]) -> str:
    """Return the lines as a Markdown table."""
    rows = [
        f"| {one['name']} | {one['ours']} | {one['peer']} ({one['against']}) "
        f"| {one['ratio']} | {one['unit']} |"
        for one in lines
    ]
    head = ["| what | ours | peer | times better | unit |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"Measured on {lines[0]['machine']}."])


def main() -> None:
    """Run them all."""
    write_block(README, "benchmarks", table([run(name) for name in NAMES]))


if __name__ == "__main__":
    main()
