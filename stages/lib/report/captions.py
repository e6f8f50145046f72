"""Captions of the paper's figures."""

from stages.lib.analysis.models import families, has_difficulty, online_runs
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params

CAPTIONS = {
    "difficulty": "Difficulty of the training problems, with CoT if it was sampled. Left: the "
    "mean pass rate of each source, with the mean posterior interval of one problem if it was "
    "measured. Right: the share of problems at each level; higher is harder.",
    "training": "Training loss and learning rate by optimizer step. All arms share the schedule "
    "and the number of supervised tokens. Arms train on different mixtures, so a lower loss "
    "is not a better model.",
    "allocation": "The weight of each source and prompting over the mean of all, while an online "
    "arm trains and in the runs that replay it. Weights are equal until the arm has seen enough "
    "examples of each.",
    "learning": "Learning curves of the sources and promptings: the accuracy that an online arm "
    "saw in its fresh examples before it trained on them, which decides the weights.",
    "grpo": "GRPO by optimizer step: the reward, a weighted sum for correct answers and their "
    "form, the divergence from the parent if it has a weight, the length of answers, and the "
    "share of groups whose answers all have the same reward, which give no signal. Thin: each "
    "step; thick: the mean over five.",
    "accuracy": "Accuracy on each benchmark by system and answer mode, with intervals. Scales "
    "differ: a benchmark near the floor has a finer one.",
    "sources": "Accuracy by source of the held-out benchmark with CoT: each tuned model beside "
    "the model that it was tuned from, with the largest number of in-context examples tried.",
    "programs": "Accuracy by source of the held-out benchmark with PoT. Where all programs of a "
    "source are alike, its problems are solved all together or not at all: a difference there is "
    "one of a few program forms.",
    "sampled": "Sampled answers to the held-out benchmark: the share of problems that at least one "
    "of k samples solves, and that a majority vote of k solves. At k = 1 both are avg@n.",
    "topics": "Accuracy by topic of the held-out benchmark, before and after "
    "quantization; the number of problems is in parentheses.",
    "retention": "Accuracy of quantized models over that of their original, with intervals over "
    "problems and, of several draws of calibration examples, over draws.",
    "width": "Size of the weights, generation speed, with the range of its repeats, and perplexity "
    "of held-out solutions, with its interval, by bits per weight. Where there is no speed, the "
    "engine has no kernel.",
}


STUDY_CAPTION = (
    "The registered endpoints: the mean difference over all runs with its 95% interval, and each "
    "run. Each interval has to stay above its dashed bound."
)
DOSE_CAPTION = (
    "Two arms of the study at several doses, on development problems: described, not tested. Left: "
    "accuracy on hard cells, the mean and each run. Right: the difference with its interval."
)
RETENTION_CAPTION = (
    "Recipe quantization: accuracy of quantized models over that of their original, with intervals "
    "over problems and, of several draws of calibration examples, over draws."
)


def figures_without_data(params: Params) -> set[str]:
    """Return the figures that these parameters give no data for."""
    methods = {
        quantized_models(params.quantize)[model].method
        for _, *quantized in families(params.quantize, list(params.evaluate.models))
        for model in quantized
    }
    arms = {*params.weigh.arms, *params.weigh.replays}
    tuned = (arms | set(params.grpo.models)) & set(params.evaluate.models)
    has_data = {
        "difficulty": has_difficulty(params.sample, params.score),
        "allocation": bool(online_runs(params.weigh)),
        "learning": bool(online_runs(params.weigh)),
        "grpo": bool(params.grpo.models),
        "sources": bool(tuned) and "cot" in params.evaluate.prompting,
        "programs": bool(tuned) and "pot" in params.evaluate.prompting,
        "sampled": params.evaluate.sampling is not None,
        "topics": "gptq" in methods,
        "width": bool(methods),
        "retention": bool(methods),
    }
    return {name for name, has in has_data.items() if not has}
