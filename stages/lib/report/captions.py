"""Captions of the paper's figures."""

from stages.lib.params.root import Params

CAPTIONS = {
    "difficulty": "Difficulty of the training problems for the base model. Left: the mean pass "
    "rate of each source, with the mean posterior interval of one problem. Right: the share of "
    "problems at each level; higher is harder.",
    "training": "Training loss and learning rate by optimizer step. All arms share the schedule "
    "and the number of supervised tokens. Arms train on different mixtures, so a lower loss "
    "is not a better model.",
    "grpo": "GRPO by optimizer step: the reward, which weighs right answers and their "
    "form, the divergence from the parent, the length of answers, and the share of groups whose "
    "answers all earned the same, which teach nothing. Thin: each step; thick: the mean over five.",
    "accuracy": "Accuracy on each benchmark by system and decoding, with intervals. Mind the "
    "scales: they differ where a benchmark is near the floor.",
    "sources": "Accuracy by source of the held-out benchmark with CoT: each tuned model beside "
    "the model that it began from, with the most in-context examples that were tried.",
    "programs": "The same with PoT. Where all programs of a source are alike, its problems are "
    "solved all or none: there a difference is one of a few program forms.",
    "topics": "Accuracy by topic of the held-out benchmark with CoT, before and after "
    "quantization; the number of problems is in parentheses.",
    "width": "Size of the weights, generation speed, with the range of its repeats, and perplexity "
    "of held-out solutions, with its interval, by bits per weight. Where there is no speed, the "
    "engine has no kernel.",
}


def not_drawn(wanted: Params) -> set[str]:
    """Return the figures that there is nothing to draw for."""
    families = wanted.quantize.families(list(wanted.evaluate.models))
    made = {wanted.quantize.models[name].method for family in families for name in family[1:]}
    missing = set() if made else {"width"}
    missing |= set() if "gptq" in made else {"topics"}
    missing |= set() if wanted.grpo.models else {"grpo"}
    missing |= set() if wanted.sample.k else {"difficulty"}
    tuned = {*wanted.weigh.arms, *wanted.grpo.models}
    return missing | (set() if tuned & set(wanted.evaluate.models) else {"sources", "programs"})
