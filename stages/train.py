"""Fine-tune the base model on one arm's examples.

Reads the base model and ``data/training/<arm>.parquet`` (and, if ``train.validation`` is above
0, all training problems and conversations, to choose among them). Writes ``data/models/<arm>/``,
with adapters merged; DVCLive's tables in ``reports/training/<arm>/`` (loss, learning rate and
gradient norm by step, and the validation loss where it was measured); and
``reports/training/<arm>.json`` (number of trained parameters, the step whose parameters were
kept and its validation loss, how many examples were shown and how many were too long).
Checkpoints are in ``data/checkpoints/`` until the run is complete: a killed run resumes from
the last one, if nothing that it depends on has changed.

    python -m stages.train ARM
"""

import shutil
from collections.abc import Set
from contextlib import closing

from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    CHECKPOINTS,
    CONVERSATIONS,
    MODELS,
    TOKENS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Conversation, Example, Problem, content_id
from stages.lib.core.settings import overlay
from stages.lib.core.tables import read_parquet
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.data import Prompts
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.params.training import Train
from stages.lib.runtime import console
from stages.lib.sft import trainer, validation
from stages.lib.sft.batches import TrainingPlan, exposure_stats, plan_training
from stages.lib.sft.tokens import TokenizedExamples, tokenize_examples
from stages.lib.sft.trainer import TrainOutput
from stages.lib.training import adapters, distributed, tracking
from stages.lib.training.checkpoints import checkpoint_dir

BASE = MODELS / "base"


def main(arm: str) -> None:
    """Train an arm, in several processes if ``train.launch`` says so."""
    params = load_params()
    if arm not in params.weigh.arms:
        raise ValueError(f"weigh.arms: {arm!r}: expected one of {list(params.weigh.arms)}")
    settings = overlay(params.train, params.weigh.arms[arm].train)
    if settings.launch is not None and not console.is_worker():
        distributed.launch_processes(settings.launch, "train", arm)
        return
    base_fingerprint = model_fingerprint(BASE)
    tokenizer = load_tokenizer(BASE)
    chosen = _validation_questions(settings.validation, seed=params.train.seed)
    train_set, validation_set = _tokenize(
        arm, chosen, tokenizer, params.prompts, settings, base_fingerprint
    )
    plan = plan_training(train_set, settings)
    run_key = _run_key(arm, chosen, params, settings, base_fingerprint)
    model = adapters.load_trainable(BASE, settings.tuning, seed=settings.seed)
    counts = adapters.parameter_counts(model)
    console.log_line(
        f"train {arm}: {settings.tuning.method}, {counts['trainable']:,} of {counts['total']:,} "
        f"parameters ({counts['share']:.2%})"
    )
    output = _train(arm, model, tokenizer, plan, validation_set, settings, run_key)
    if console.rank() > 0:
        return
    if output.weights is not None:
        # Each process holds a part of the model; the gathered weights need a whole one.
        model = adapters.load_trainable(BASE, settings.tuning, seed=settings.seed)
        model.load_state_dict(output.weights)
    adapters.save_merged(model, tokenizer, MODELS / arm)
    kept = validation.best_step(output.log) if settings.keep == "best" else settings.steps
    overlong = train_set.overlong + validation_set.overlong
    write_json(
        TRAINING_LOGS / f"{arm}.json",
        {"method": settings.tuning.method, "kept_step": kept, "overlong": overlong}
        | validation.loss_at(output.log, kept)
        | exposure_stats(plan)
        | counts,
    )
    shutil.rmtree(CHECKPOINTS / arm)


def _validation_questions(count: int, *, seed: int) -> set[str]:
    """Choose the first questions of the problems and conversations to validate on."""
    if count == 0:
        return set()
    problems = [problem.question for problem in read_parquet(TRAIN_PROBLEMS, Problem)]
    conversations = [row.turns[0].question for row in read_parquet(CONVERSATIONS, Conversation)]
    return validation.choose_validation(problems, count, seed=seed) | validation.choose_validation(
        conversations, count, seed=seed
    )


def _tokenize(
    arm: str,
    chosen: Set[str],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
    base_fingerprint: str,
) -> tuple[TokenizedExamples, TokenizedExamples]:
    """Return an arm's examples to train on and those to validate on, as tokens."""
    examples = read_parquet(TRAINING / f"{arm}.parquet", Example)
    train_set, validation_set = (
        tokenize_examples(part, tokenizer, prompts, settings, TOKENS / base_fingerprint)
        for part in validation.split_validation(examples, chosen)
    )
    if overlong := train_set.overlong + validation_set.overlong:
        console.log_line(
            f"{arm}: train.max_length: {settings.max_length}: {overlong} of {len(examples)} "
            f"examples were longer: {settings.overlong}"
        )
    return train_set, validation_set


def _run_key(
    arm: str, chosen: Set[str], params: Params, settings: Train, base_fingerprint: str
) -> str:
    """Identify what the training depends on: checkpoints of another key are not resumed."""
    # Trackers do not change a training.
    without_trackers = settings.model_copy(update={"tracking": []})
    return content_id(
        base_fingerprint,
        file_sha256(TRAINING / f"{arm}.parquet"),
        repr((without_trackers, params.prompts)),
        *sorted(chosen),
    )


def _train(
    arm: str,
    model: adapters.Trainable,
    tokenizer: PreTrainedTokenizerBase,
    plan: TrainingPlan,
    validation_set: TokenizedExamples,
    settings: Train,
    run_key: str,
) -> TrainOutput:
    """Train with a progress bar and trackers."""
    validation_examples = [validation_set[i] for i in range(len(validation_set))]
    trackers = tracking.Tracking(tracking.Run(arm, run_key, settings), validation.rows_by_step)
    with (
        console.progress_bar(total=settings.steps, desc=f"train {arm}", unit="step") as progress,
        closing(trackers),
    ):
        return trainer.train(
            model,
            tokenizer,
            plan,
            settings,
            checkpoint_dir(arm, run_key),
            progress,
            validation_examples,
            [trackers],
        )


if __name__ == "__main__":
    console.run_stage("train", main, item="arm")
