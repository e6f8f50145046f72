"""Train the base model or an arm by GRPO, on rewards for its own graded answers.

Reads the parent's model, the training problems and their difficulty. Writes, for the entry
``grpo.models.<name>``, ``data/models/<name>/``, with adapters merged; DVCLive's tables in
``reports/training/<name>/`` (rewards, KL divergence from the parent, length and share of groups
without signal by step); ``reports/training/<name>.json`` (number of trained parameters, of
problems, and of completions and tokens, those of replaced groups included);
``data/training/<name>.parquet`` (the problems that it trained on with their worked solutions,
which GPTQ is calibrated on); and ``data/rollouts/<name>.jsonl`` (completions of each round with
their rewards). Checkpoints are in ``data/checkpoints/`` until the run is complete: a killed run
resumes from the last one, if nothing that it depends on has changed.

    python -m stages.grpo NAME
"""

from collections.abc import Sequence
from contextlib import closing
from functools import partial

import numpy as np
from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    DIFFICULTY,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Difficulty, Example, Problem, content_id, difficulty_by_problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.grpo import trainer
from stages.lib.grpo.log import rows_by_step
from stages.lib.grpo.rewards import RewardFunction, load_rewards
from stages.lib.grpo.rollouts import ROLLOUTS, RolloutLog
from stages.lib.grpo.schedule import PromptSchedule, plan_candidates, plan_rounds
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.grpo import GrpoModel
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import (
    as_turn,
    describe_prompts,
    question_prompt,
    user_message,
    with_template,
)
from stages.lib.runtime import console
from stages.lib.training import adapters, distributed, tracking
from stages.lib.training.checkpoints import checkpoint_dir, remove_checkpoints

# Without difficulty every problem is drawn equally often, as any rate between 0 and 1 is.
UNKNOWN_PASS_RATE = 0.5


def main(name: str) -> None:
    """Train a model by GRPO, in several processes if ``grpo.launch`` says so."""
    params = load_params()
    settings = params.grpo
    if name not in settings.models:
        raise ValueError(f"grpo.models: {name!r}: expected one of {list(settings.models)}")
    spec = settings.models[name]
    # First: what is wrong with a user's function shows before anything is loaded.
    rewards = load_rewards(settings.rewards)
    if settings.launch is not None and not console.is_worker():
        distributed.launch_processes(settings.launch, "grpo", name)
        return
    parent = MODELS / spec.parent
    run_key = _run_key(params, spec, rewards, model_fingerprint(parent))
    tokenizer = with_template(load_tokenizer(parent), params.prompts)
    schedule = _schedule(params, spec, tokenizer)
    model = adapters.load_policy(parent, spec.tuning, seed=spec.seed)
    counts = adapters.parameter_counts(model)
    rows = partial(rows_by_step, rewards=list(settings.rewards))
    trackers = tracking.Tracking(tracking.Run(name, run_key, settings), rows)
    checkpoints = checkpoint_dir(name, run_key)
    with (
        console.progress_bar(total=settings.steps, desc=f"grpo {name}", unit="step") as progress,
        closing(trackers),
    ):
        _, rollouts = trainer.train(
            *(model, tokenizer, schedule, rewards, settings, spec, checkpoints, progress),
            callbacks=[trackers],
        )
    if console.rank() > 0:
        return
    adapters.save_merged(model, tokenizer, MODELS / name)
    _write_rollouts(name, schedule, rollouts)
    sampled = {
        "problems": len(rollouts.times_trained()),
        "answers": rollouts.total("completions"),
        "generated_tokens": rollouts.total("tokens"),
        "replaced_groups": rollouts.total("replaced"),
    }
    write_json(
        TRAINING_LOGS / f"{name}.json",
        {"method": spec.tuning.method, "parent": spec.parent} | counts | sampled,
    )
    # Last, so that a run that ends before its outputs are complete can be resumed.
    remove_checkpoints(name)


def _write_rollouts(name: str, schedule: PromptSchedule, rollouts: RolloutLog) -> None:
    """Write the completions, and the problems with how often they were trained on."""
    rollouts.write(ROLLOUTS / f"{name}.jsonl")
    # Quantization calibrates on these, as on the examples of an arm.
    examples = [
        _example(schedule.problems[index], times)
        for index, times in rollouts.times_trained().items()
    ]
    write_parquet(TRAINING / f"{name}.parquet", examples)


def _run_key(
    params: Params, spec: GrpoModel, rewards: Sequence[RewardFunction], parent_fingerprint: str
) -> str:
    """Identify what the training depends on: checkpoints of another key are not resumed."""
    # Neither trackers nor other models change a training.
    shared = params.grpo.model_copy(update={"models": {}, "tracking": []})
    return content_id(
        parent_fingerprint,
        file_sha256(TRAIN_PROBLEMS),
        file_sha256(DIFFICULTY),
        repr((shared, spec)) + describe_prompts(params.prompts),
        *(reward.source for reward in rewards),
    )


def _schedule(
    params: Params, spec: GrpoModel, tokenizer: PreTrainedTokenizerBase
) -> PromptSchedule:
    """Tokenize the prompts of all training problems and choose the problems of each round."""
    settings, prompts = params.grpo, params.prompts
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    difficulties = difficulty_by_problem(read_parquet(DIFFICULTY, Difficulty), "cot")
    pass_rates = [
        difficulties[problem.id].pass_rate if difficulties else UNKNOWN_PASS_RATE
        for problem in problems
    ]
    rng = np.random.default_rng(spec.seed)
    weight, per_round = spec.zero_variance_weight, settings.prompts_per_step
    rounds = plan_rounds(
        pass_rates,
        rounds=settings.steps // settings.iterations,
        per_round=per_round,
        zero_variance_weight=weight,
        rng=rng,
    )
    most = settings.max_resamples * per_round
    candidates = plan_candidates(
        pass_rates, rounds, most=most, zero_variance_weight=weight, rng=rng
    )
    questions = [user_message(problem.question, "cot") for problem in problems]
    token_ids = [question_prompt(tokenizer, prompts, question) for question in questions]
    return PromptSchedule(problems, token_ids, rounds, candidates, prompts.stop)


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
