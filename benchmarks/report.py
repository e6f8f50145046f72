"""The line that a benchmark prints, and the machine that it names."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

README = Path("README.md")


def machine() -> str:
    """Return the processor's name and the number of cores."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def line(
    name: str, *, ours: float, peer: float, unit: str, against: str, better: str, **more: object
) -> str:
    """Return a benchmark's JSON line; ``ratio`` is above 1 where ours is better.

    ``better`` says whether ``more`` or ``less`` of the unit is.
    """
    ratio = ours / peer if better == "more" else peer / ours
    found = {
        "name": name,
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ratio, 2),
        "unit": unit,
        "against": against,
        "machine": machine(),
    }
    return json.dumps(found | more)


def write_block(page: Path, name: str, text: str) -> None:
    """Put a text between the two comments of that name on a page.

    Raises ValueError if they are not there.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begun, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{page}: no comments {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def measured(module: str, side: str) -> dict[str, Any]:
    """Run one side of a benchmark in a process of its own and return what it measured."""
    done = subprocess.run(
        [sys.executable, "-m", module, side], stdout=subprocess.PIPE, check=True, text=True
    )
    # Libraries may say something after it.
    found = [said for said in done.stdout.splitlines() if said.startswith("{")]
    return json.loads(found[-1])
