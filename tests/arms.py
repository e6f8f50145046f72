"""Settings that tests of several packages need, each written out once."""

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

LORA: dict[str, Any] = {
    "method": "lora",
    "r": 4,
    "alpha": 8.0,
    "dropout": 0.0,
    "targets": ["q_proj", "down_proj"],
    "optimizer": "adamw",
}
GRPO: dict[str, Any] = {
    "parent": "uniform",
    "seed": 1,
    "tuning": {"method": "full", "optimizer": "adamw"},
    "zero_variance_weight": 0.2,
}

# An entry of ``prepare.train``: the rows of a data set.
ROWS: dict[str, Any] = {
    "source": "rows",
    "name": "talk",
    "format": "sharegpt",
    "path": "talk.jsonl",
    "license": "MIT",
    "fraction": 1.0,
    "exclude": [],
    "target": "conversations",
}
