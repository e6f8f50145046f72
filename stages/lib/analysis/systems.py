"""Evaluated systems: a model with a number of in-context examples."""

from stages.lib.core.schema import system_name
from stages.lib.params.evaluation import Evaluate


def evaluated_systems(evaluate: Evaluate, *, fewest: int = 0) -> list[str]:
    """Return the systems with at least ``fewest`` examples, in the order of ``evaluate.models``."""
    return [
        system_name(model, n)
        for model, shots in evaluate.models.items()
        for n in shots
        if n >= fewest
    ]


def default_system(evaluate: Evaluate, model: str) -> str:
    """Return the system that stands for a model: with its fewest in-context examples."""
    return system_name(model, min(evaluate.models[model]))
