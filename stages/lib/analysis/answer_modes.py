"""Answer modes: how the CoT and the PoT answer to a problem are scored, alone or together."""

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
