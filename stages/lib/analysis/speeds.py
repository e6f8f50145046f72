"""Summary of repeated speed measurements: their median and range."""

from collections.abc import Mapping, Sequence
from statistics import median

NO_KERNEL = "no kernel"
"""The table entry for a speed where the engine has no kernel for the weights."""

SPEEDS = ("tokens_per_second", "tokens_per_second_single", "first_token_ms")
"""The first is measured at a batch of ``evaluate.speed.prompts``, the others at a batch of 1."""

COLUMNS = tuple(f"{name}{end}" for name in SPEEDS for end in ("", "_low", "_high"))


def summarize_speeds(measured: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each speed's repeats, and their minimum and maximum."""
    summary: dict[str, float] = {}
    for name, repeats in measured.items():
        summary |= {
            name: round(median(repeats), 1),
            f"{name}_low": min(repeats),
            f"{name}_high": max(repeats),
        }
    return summary
