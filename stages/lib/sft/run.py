"""A whole fine-tuning: from an arm's examples to a saved model, its logs and its report."""

from collections.abc import Callable, Sequence, Set
from contextlib import closing
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    CONVERSATIONS,
    MODELS,
    TOKENS,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Conversation, Problem, content_id
from stages.lib.core.tables import scan_parquet, write_csv
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_model, load_tokenizer
from stages.lib.models.precision import compute_dtype
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts.templates import describe_prompts, with_template
from stages.lib.runtime import console
from stages.lib.sft import trainer, validation
from stages.lib.sft.allocation import allocation
from stages.lib.sft.batches import Plan, exposure_stats
from stages.lib.sft.online import OnlinePlan
from stages.lib.sft.tokens import ExampleFile, TokenizedExamples, tokenize_examples
from stages.lib.sft.trainer import TrainOutput
from stages.lib.training import adapters, tracking
from stages.lib.training.checkpoints import checkpoint_dir, remove_checkpoints
from stages.lib.training.distributed import splits_model

BASE = MODELS / "base"

Planner = Callable[[TokenizedExamples], Plan]


def fine_tune(
    name: str,
    file: Path,
    settings: Train,
    prompts: Prompts,
    planner: Planner,
    *,
    validation_seed: int,
    plan_inputs: Sequence[str],
) -> None:
    """Fine-tune the base model on the examples in a file, and save the model, logs and report.

    ``plan_inputs`` names what the plan depends on beside the examples and the settings. Every
    run of one ``validation_seed`` holds out the same examples.
    """
    fingerprint = model_fingerprint(BASE)
    tokenizer = with_template(load_tokenizer(BASE), prompts)
    held_out = _validation_questions(settings.validation, seed=validation_seed)
    train_set, validation_set = _tokenize(
        name, file, held_out, tokenizer, prompts, settings, fingerprint
    )
    plan = planner(train_set)
    # Trackers do not change a training.
    without_trackers = settings.model_copy(update={"tracking": []})
    run_key = content_id(
        fingerprint,
        file_sha256(file),
        repr(without_trackers) + describe_prompts(prompts),
        *plan_inputs,
        *sorted(held_out),
    )
    model = adapters.load_trainable(
        BASE, settings.tuning, seed=settings.seed, sharded=splits_model(settings.launch)
    )
    counts = adapters.parameter_counts(model)
    console.log_line(
        f"train {name}: {settings.tuning.method}, {counts['trainable']:,} of {counts['total']:,} "
        f"parameters ({counts['share']:.2%})"
    )
    output = _train(name, model, tokenizer, plan, validation_set, settings, run_key)
    if console.rank() > 0:
        return
    if output.weights is not None:
        # Each process holds a part of the model; the gathered weights need a whole one.
        model = adapters.load_trainable(BASE, settings.tuning, seed=settings.seed)
        model.load_state_dict(output.weights)
    adapters.save_merged(model, tokenizer, MODELS / name)
    overlong = train_set.overlong + validation_set.overlong
    _write_report(name, settings, plan, output, counts | {"overlong": overlong})
    remove_checkpoints(name)


def _write_report(
    name: str, settings: Train, plan: Plan, output: TrainOutput, counts: dict[str, float]
) -> None:
    kept = validation.best_step(output.log) if settings.keep == "best" else settings.steps
    write_csv(TRAINING_LOGS / name / "allocation.csv", allocation(plan))
    write_json(
        TRAINING_LOGS / f"{name}.json",
        {"method": settings.tuning.method, "kept_step": kept}
        | validation.loss_at(output.log, kept)
        | exposure_stats(plan)
        | _warmup(name, plan)
        | counts,
    )


def _warmup(name: str, plan: Plan) -> dict[str, int]:
    """Return how long an online run's weights were equal; say so if they never changed."""
    if not isinstance(plan, OnlinePlan):
        return {}
    if plan.warmup_steps == plan.settings.steps:
        console.log_line(
            f"{name}: train.steps: {plan.settings.steps}: the warm-up did not end, so all cells "
            "had equal weights: expected more steps, or fewer warmup_examples"
        )
    return {"warmup_steps": plan.warmup_steps}


def _validation_questions(count: int, *, seed: int) -> set[str]:
    """Choose the first questions of the problems and conversations to validate on."""
    if count == 0:
        return set()
    problems = (problem.question for problem in scan_parquet(TRAIN_PROBLEMS, Problem))
    conversations = (row.turns[0].question for row in scan_parquet(CONVERSATIONS, Conversation))
    return validation.choose_validation(problems, count, seed=seed) | validation.choose_validation(
        conversations, count, seed=seed
    )


def _tokenize(
    name: str,
    file: Path,
    held_out: Set[str],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
    base_fingerprint: str,
) -> tuple[TokenizedExamples, TokenizedExamples]:
    """Return the examples to train on and those to validate on, as tokens."""
    train_set, validation_set = (
        tokenize_examples(part, tokenizer, prompts, settings, TOKENS / base_fingerprint)
        for part in validation.split_validation(ExampleFile(file), held_out)
    )
    if overlong := train_set.overlong + validation_set.overlong:
        n_examples = train_set.table.num_rows + validation_set.table.num_rows
        console.log_line(
            f"{name}: train.max_length: {settings.max_length}: {overlong} of {n_examples} "
            f"examples were longer: {settings.overlong}"
        )
    return train_set, validation_set


def _train(
    name: str,
    model: adapters.Trainable,
    tokenizer: PreTrainedTokenizerBase,
    plan: Plan,
    validation_set: TokenizedExamples,
    settings: Train,
    run_key: str,
) -> TrainOutput:
    """Train with a progress bar and trackers."""
    validation_examples = [validation_set[i] for i in range(len(validation_set))]
    trackers = tracking.Tracking(tracking.Run(name, run_key, settings), validation.rows_by_step)
    with (
        console.progress_bar(total=settings.steps, desc=f"train {name}", unit="step") as progress,
        closing(trackers),
    ):
        needs_base = plan.factor is not None and plan.factor.needs_base
        return trainer.train(
            model,
            tokenizer,
            plan,
            settings,
            checkpoint_dir(name, run_key),
            progress,
            validation_examples,
            [trackers],
            base=load_model(BASE, compute_dtype()) if needs_base else None,
        )
