"""The compute of each arm: tokens, FLOPs and seconds, sampling included."""

from typing import Any

from stages.lib.core.files import read_json
from stages.lib.core.paths import METRICS, TIMINGS, TRAINING_LOGS
from stages.lib.params.root import Params
from stages.lib.report.descriptions import follows_difficulty, reads_base


def compute_rows(params: Params) -> list[dict[str, Any]]:
    """Return a row per arm and replay: what it trained on, and what that and sampling cost.

    ``generated_tokens`` are those of the base model's samples, which an arm that follows
    difficulty needs. ``flops`` counts 6 per parameter and trained token, forward and backward,
    and 2 per parameter and generated token, or token that a frozen base model reads too (Kaplan
    et al. 2020, arXiv:2001.08361, section 2.1). For adapters that is too many, as the gradients
    of frozen weights are not computed. The prompts of samples are left out: the engine computes
    their common beginning, which is nearly all of them, once.
    """
    sampled = read_json(METRICS / "difficulty.json").values()
    generated = sum(by_prompting["generated_tokens"] for by_prompting in sampled)
    sampling_seconds = _seconds("sample") + _seconds("resample") if params.sample.k else 0.0
    rows = []
    for name in (*params.weigh.arms, *params.weigh.replays):
        run = read_json(TRAINING_LOGS / f"{name}.json")
        samples = follows_difficulty(params, name)
        stage = "replay" if name in params.weigh.replays else "train"
        # All sampling counts for each such arm: it would need it also if it were the only one.
        generated_tokens = generated if samples else 0
        read_by_base = run["processed_tokens"] if reads_base(params, name) else 0
        rows.append(
            {
                "arm": name,
                "epochs": run["epochs"],
                "examples": run["examples"],
                "distinct_examples": run["distinct_examples"],
                "max_repeats": run["max_repeats"],
                "supervised_tokens": run["supervised_tokens"],
                "processed_tokens": run["processed_tokens"],
                "generated_tokens": generated_tokens,
                "flops": run["total"]
                * (6 * run["processed_tokens"] + 2 * (generated_tokens + read_by_base)),
                "seconds": _seconds(f"{stage}-{name}") + (sampling_seconds if samples else 0.0),
            }
        )
    return rows


def _seconds(stage: str) -> float:
    return read_json(TIMINGS / f"{stage}.json")["seconds"]
