"""The settings of online arms, each written out once."""

from typing import Any

_ONLINE: dict[str, Any] = {"floor": 0.15, "warmup_examples": 6, "every": 2}

FRONTIER: dict[str, Any] = _ONLINE | {"strategy": "frontier", "half_life": 8.0, "scale": 0.3}
MASTERY: dict[str, Any] = _ONLINE | {"strategy": "mastery", "half_life": 8.0, "floor": 0.25}
PLANNED: dict[str, Any] = _ONLINE | {
    "strategy": "planned",
    "scale": 0.3,
    "warmup_examples": 8,
    "every": 10,
}
