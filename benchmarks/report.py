"""The JSON line of a benchmark's result, and the helpers that write and collect results."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from stages.lib.provenance.versions import cpu_name

README = Path("README.md")


def machine() -> str:
    """Return the processor's name and the number of cores."""
    return f"{cpu_name()}, {os.cpu_count()} cores"


def line(
    name: str, *, ours: float, peer: float, unit: str, against: str, better: str, **extra: object
) -> str:
    """Return a benchmark's JSON line; ``ratio`` is above 1 where ours is better.

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
    return json.dumps(result | extra)


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


def run_side(module: str, side: str) -> dict[str, Any]:
    """Run one side of a benchmark in a separate process and return its measurements."""
    process = subprocess.run(
        [sys.executable, "-m", module, side], stdout=subprocess.PIPE, check=True, text=True
    )
    # Libraries may print something after the result.
    results = [text for text in process.stdout.splitlines() if text.startswith("{")]
    return json.loads(results[-1])
