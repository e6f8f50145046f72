"""The JSON line of a benchmark's result, and what several benchmarks share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.paths import PARAMS
from stages.lib.provenance.versions import cpu_name

README = Path("README.md")


def machine() -> str:
    """Return the processor's name and the number of cores."""
    return f"{cpu_name()}, {os.cpu_count()} cores"


def print_line(
    name: str, *, ours: float, peer: float, unit: str, against: str, better: str, **extra: object
) -> None:
    """Print a benchmark's JSON line; ``ratio`` is above 1 where ours is better.

    ``better`` is ``more`` or ``less``: the better direction of the unit.
    """
    ratio = ours / peer if better == "more" else peer / ours
    result = {
        "name": name,
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ratio, 2),
        "unit": unit,
        "against": against,
        "machine": machine(),
    }
    print(json.dumps(result | extra), flush=True)


def write_block(page: Path, name: str, text: str) -> None:
    """Replace the text between a page's two comments of that name.

    Raises ValueError if they are missing.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begun, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{page}: no comments {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def write_params(folder: Path, values: dict[str, Any]) -> None:
    """Write ``params.yaml`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARAMS).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def run_sides(module: str, **sides: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Run each side of a benchmark in a separate process and return their measurements.

    The process runs ``module`` with the name of its side. There this prints the side's own
    measurements and ends the process.
    """
    if len(sys.argv) > 1:
        print(json.dumps(sides[sys.argv[1]]()))
        sys.exit()
    return [run_module(module, side) for side in sides]


def run_module(module: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark, or a side of it, in a separate process and return what it printed."""
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, check=True, text=True
    )
    # Libraries may print something after the result.
    results = [text for text in process.stdout.splitlines() if text.startswith("{")]
    return json.loads(results[-1])
