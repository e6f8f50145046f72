"""Answer modes: how a pair of answers (CoT, PoT) is scored, each alone or combined."""

from collections.abc import Container

from stages.lib.core.schema import PROMPTINGS, Prompting

ANSWER_MODES = {
    "cot": "CoT",
    "pot": "PoT",
    "fallback": "PoT‖CoT",
    "both": "both",
    "either": "either",
}
"""The label of each answer mode, in the order of tables and figures."""

SINGLE_ANSWER_MODES = ("cot", "pot", "fallback")
"""The modes that give one answer to a problem; ``both`` and ``either`` look at two answers."""


def modes_among(names: Container[str]) -> list[str]:
    """Return the answer modes among ``names``, in the order of tables and figures."""
    return [mode for mode in ANSWER_MODES if mode in names]


def promptings_among(names: Container[str]) -> list[Prompting]:
    """Return those of ``modes_among`` that are an answer with one prompting."""
    return [prompting for prompting in PROMPTINGS if prompting in names]


def single_modes_among(names: Container[str]) -> list[str]:
    """Return those of ``modes_among`` that give one answer to a problem."""
    return [mode for mode in SINGLE_ANSWER_MODES if mode in names]
