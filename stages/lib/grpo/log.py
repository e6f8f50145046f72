"""The log of a run by step: rewards, divergence, lengths, and what resampling cost."""

from collections.abc import Mapping, Sequence
from typing import Any

# Names of the metrics that ``stages.lib.grpo.policy`` adds to TRL's.
WITHOUT_SIGNAL, REPLACED, TOKENS = "groups/no_signal", "groups/replaced", "tokens/generated"

# The columns of the log besides those of rewards, and their names in the trainer's history.
COLUMNS = {
    "kl": "kl",
    "answer_tokens": "completions/mean_length",
    "cut": "completions/clipped_ratio",
    "groups_without_signal": WITHOUT_SIGNAL,
    "replaced_groups": REPLACED,
    "generated_tokens": TOKENS,
    "clipped": "clip_ratio/region_mean",
    "sampler_gap": "sampling/sampling_logp_difference/mean",
    "entropy": "entropy",
}


def rows_by_step(
    history: Sequence[Mapping[str, Any]], rewards: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row per step: ``step``, rewards, ``COLUMNS``, ``loss`` and ``learning_rate``.

    ``reward`` is the weighted sum, ``NAME_reward`` each of ``rewards`` without its weight, both
    means over the round's completions. ``cut`` is the share of completions that reached the
    length limit, ``clipped`` that of tokens whose ratio was clipped; ``generated_tokens`` counts
    those of the ``replaced_groups`` too, which ``groups_without_signal``, a share, does not. A
    step that reuses the completions of the step before has no rewards. ``kl`` (to the parent; not
    measured where ``grpo.beta`` is 0) and ``entropy`` are in nats per token, as is ``sampler_gap``,
    how far vLLM's log-probability of a token is from the trainer's (on a GPU).
    """
    names = {"reward": "reward"} | {f"{name}_reward": f"rewards/{name}/mean" for name in rewards}
    return [
        {"step": entry["step"]}
        | {column: entry.get(name) for column, name in (names | COLUMNS).items()}
        | {"loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for entry in history
        if "loss" in entry
    ]
