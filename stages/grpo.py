"""Train the base model or an arm by GRPO, on rewards for its own graded answers.

Reads the parent's model, the training problems and their difficulty. Writes, for the entry
``grpo.models.<name>``, ``data/models/<name>/``, with adapters merged; DVCLive's tables in
``reports/training/<name>/`` (rewards, KL divergence from the parent, length and share of groups
without signal by step); ``reports/training/<name>.json`` (number of trained parameters, of
problems and of completions); and ``data/training/<name>.parquet`` (the sampled problems with
their worked solutions, which GPTQ is calibrated on). Checkpoints are in ``data/checkpoints/``
until the run is complete: a killed run resumes from the last one, if nothing that it depends on
has changed.

    python -m stages.grpo NAME
"""

import shutil
from collections import Counter
from contextlib import closing

import numpy as np
from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    CHECKPOINTS,
    DIFFICULTY,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Difficulty, Example, Problem, content_id, difficulty_by_problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.grpo import trainer
from stages.lib.grpo.schedule import PromptSchedule, plan_rounds
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.grpo import GrpoModel
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import as_turn, question_prompt, user_message
from stages.lib.runtime import console
from stages.lib.training import adapters, tracking
from stages.lib.training.checkpoints import checkpoint_dir

# Without difficulty every problem is drawn equally often, as any rate between 0 and 1 is.
UNKNOWN_PASS_RATE = 0.5


def main(name: str) -> None:
    """Train a model by GRPO."""
    params = load_params()
    settings = params.grpo
    if name not in settings.models:
        raise ValueError(f"grpo.models: {name!r}: expected one of {list(settings.models)}")
    spec = settings.models[name]
    parent = MODELS / spec.parent
    run_key = _run_key(params, spec, model_fingerprint(parent))
    tokenizer = load_tokenizer(parent)
    schedule = _schedule(params, spec, tokenizer)
    model = adapters.load_trainable(parent, spec.tuning, seed=spec.seed)
    counts = adapters.parameter_counts(model)
    trackers = tracking.Tracking(tracking.Run(name, run_key, settings), trainer.rows_by_step)
    checkpoints = checkpoint_dir(name, run_key)
    with (
        console.progress_bar(total=settings.steps, desc=f"grpo {name}", unit="step") as progress,
        closing(trackers),
    ):
        trainer.train(model, tokenizer, schedule, settings, spec, checkpoints, progress, [trackers])
    adapters.save_merged(model, tokenizer, MODELS / name)
    times = Counter(schedule.rounds.ravel().tolist())
    # Quantization calibrates on these, as on the examples of an arm.
    examples = [_example(schedule.problems[index], times[index]) for index in times]
    write_parquet(TRAINING / f"{name}.parquet", examples)
    sampled = {"problems": len(times), "answers": schedule.rounds.size * settings.generations}
    write_json(
        TRAINING_LOGS / f"{name}.json",
        {"method": spec.tuning.method, "parent": spec.parent} | counts | sampled,
    )
    # Last, so that a run that ends before its outputs are complete can be resumed.
    shutil.rmtree(CHECKPOINTS / name)


def _run_key(params: Params, spec: GrpoModel, parent_fingerprint: str) -> str:
    """Identify what the training depends on: checkpoints of another key are not resumed."""
    # Neither trackers nor other models change a training.
    shared = params.grpo.model_copy(update={"models": {}, "tracking": []})
    return content_id(
        parent_fingerprint,
        file_sha256(TRAIN_PROBLEMS),
        file_sha256(DIFFICULTY),
        repr((shared, spec, params.prompts)),
    )


def _schedule(
    params: Params, spec: GrpoModel, tokenizer: PreTrainedTokenizerBase
) -> PromptSchedule:
    """Tokenize the prompts of all training problems and choose the problems of each round."""
    settings, prompts = params.grpo, params.prompts
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    difficulties = difficulty_by_problem(read_parquet(DIFFICULTY, Difficulty), "cot")
    rounds = plan_rounds(
        [
            difficulties[problem.id].pass_rate if difficulties else UNKNOWN_PASS_RATE
            for problem in problems
        ],
        rounds=settings.steps // settings.iterations,
        per_round=settings.prompts_per_step,
        zero_variance_weight=spec.zero_variance_weight,
        rng=np.random.default_rng(spec.seed),
    )
    questions = [user_message(problem.question, "cot") for problem in problems]
    token_ids = [question_prompt(tokenizer, prompts, question) for question in questions]
    return PromptSchedule(problems, token_ids, rounds, prompts.stop)


def _example(problem: Problem, repeats: int) -> Example:
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting="cot",
        turns=[as_turn(problem, "cot")],
        repeats=repeats,
        weight=1.0,
    )


if __name__ == "__main__":
    console.run_stage("grpo", main, item="name")
