"""The sweeps of conf/sweep, composed once, and results of one."""

from functools import cache
from typing import Any

from tools.sweep.spec import load_sweep

committed = cache(load_sweep)


def grid_rows() -> list[dict[str, Any]]:
    """Return the rows of the grid's 16 trials; the fourth failed, the sixth is best."""
    rows = [
        {"trial": number, "experiment": f"grid-{number:02d}", **values}
        | {"score": 0.9 if number == 5 else 0.4 + number / 100, "error": ""}
        for number, values in enumerate(committed("grid").points())
    ]
    rows[3] |= {"score": None, "error": "boom"}
    return rows
