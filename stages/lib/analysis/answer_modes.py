"""Answer modes: how a pair of answers (CoT, PoT) is scored, each alone or combined."""

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
