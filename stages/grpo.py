"""Reinforce the base model or an arm by GRPO: its answers are graded, and that is the lesson.

Reads the parent's model, the training problems and their difficulty; writes, for the
entry ``grpo.models.<name>``, ``data/models/<name>/`` (adapters are merged into it),
``reports/training/<name>/`` (rewards, divergence from the parent, length and share of
groups without signal by step, as DVCLive writes them), beside it ``<name>.json`` (how many
parameters were trained, and what was asked), and ``data/training/<name>.parquet`` (the
problems that were asked with their worked solutions, which GPTQ is calibrated on).
Checkpoints lie in ``data/checkpoints/`` until the run is complete: a run that was killed
goes on from the last one, if nothing that it depends on has changed.

    python -m stages.grpo NAME
"""

import shutil
from collections import Counter
from contextlib import closing

import numpy as np

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    CHECKPOINTS,
    DIFFICULTY,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Difficulty, Example, Problem, content_id
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.grpo import trainer
from stages.lib.grpo.schedule import plan_rounds
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint, save_atomically
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import ask, question_prompt, turn
from stages.lib.runtime import console
from stages.lib.training import adapters, tracking
from stages.lib.training.checkpoints import checkpoint_dir

# A pass rate that says nothing: every problem is as likely as any other.
UNKNOWN = 0.5


def main(name: str) -> None:
    """Grpo a model."""
    wanted = load_params()
    settings, prompts = wanted.grpo, wanted.prompts
    if name not in settings.models:
        raise ValueError(f"grpo.models: {name!r}: expected one of {list(settings.models)}")
    made = settings.models[name]
    parent = MODELS / made.parent
    fingerprint = model_fingerprint(parent)
    tokenizer = loading.load_tokenizer(parent)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    rates = {row.problem_id: row.pass_rate for row in read_parquet(DIFFICULTY, Difficulty)}
    rounds = plan_rounds(
        [rates[problem.id] if rates else UNKNOWN for problem in problems],
        rounds=settings.steps // settings.iterations,
        per_round=settings.prompts_per_step,
        zero_variance_weight=made.zero_variance_weight,
        rng=np.random.default_rng(made.seed),
    )
    questions = trainer.Questions(
        problems,
        [question_prompt(tokenizer, prompts, ask(one.question, "cot")) for one in problems],
        rounds,
        prompts.stop,
    )
    depends_on = content_id(
        fingerprint,
        file_sha256(TRAIN_PROBLEMS),
        file_sha256(DIFFICULTY),
        # Who watches it makes it no other, nor do other models.
        repr((settings.model_copy(update={"models": {}, "tracking": []}), made, prompts)),
    )
    checkpoints = checkpoint_dir(name, depends_on)
    model = adapters.load_trainable(parent, made.tuning, seed=made.seed)
    counts = adapters.parameter_counts(model)
    run = tracking.Run(name, depends_on, settings.model_dump(mode="json"))
    watching = tracking.Tracking(TRAINING_LOGS / name, settings.tracking, run, trainer.rows_by_step)
    with (
        console.progress_bar(total=settings.steps, doing=f"grpo {name}", unit="step") as progress,
        closing(watching),
    ):
        trainer.fit(model, tokenizer, questions, settings, made, checkpoints, progress, [watching])
    with save_atomically(MODELS / name) as aside:
        adapters.merge_adapters(model).save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    times = Counter(rounds.ravel().tolist())
    write_parquet(TRAINING / f"{name}.parquet", [_example(problems[i], times[i]) for i in times])
    asked = {"problems": len(times), "answers": rounds.size * settings.generations}
    write_json(
        TRAINING_LOGS / f"{name}.json",
        {"method": made.tuning.method, "parent": made.parent} | counts | asked,
    )
    shutil.rmtree(CHECKPOINTS / name)


def _example(problem: Problem, times: int) -> Example:
    return Example(
        problem_id=problem.id,
        source=problem.source,
        prompting="cot",
        turns=[turn(problem, "cot")],
        repeats=times,
        weight=1.0,
    )


if __name__ == "__main__":
    console.run_stage("grpo", main, item="name")
