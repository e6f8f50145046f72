"""Speeds as tables have them: the median of repeated measurements, and the ends of their range."""

from collections.abc import Mapping, Sequence
from statistics import median

NO_KERNEL = "no kernel"
"""What stands in place of a speed where the engine has no kernel for the weights."""

SPEEDS = ("tokens_per_second", "tokens_per_second_single", "first_token_ms")
"""Of a batch of ``evaluate.speed.prompts``, and two of a batch of 1."""

COLUMNS = tuple(f"{name}{end}" for name in SPEEDS for end in ("", "_low", "_high"))


def summary(measured: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each speed's repeats, and the lowest and highest of them."""
    found: dict[str, float] = {}
    for name, repeats in measured.items():
        found |= {name: round(median(repeats), 1)}
        found |= {f"{name}_low": min(repeats), f"{name}_high": max(repeats)}
    return found
