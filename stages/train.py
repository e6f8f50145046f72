"""Fine-tune the base model on one arm's examples.

Reads the base model and ``data/training/<arm>.parquet`` (and, if some are to be set
apart, all training problems and conversations, to choose among); writes
``data/models/<arm>/`` (adapters are merged into it), while it trains DVCLive's tables in
``reports/training/<arm>/`` (loss, learning rate and norm of the gradient by step, held-out
loss where it was measured) and, beside them, ``<arm>.json`` (how many parameters were
trained, whose step's are kept and their held-out loss if it was measured, how many
examples were shown, and how many were too long). Checkpoints
lie in ``data/checkpoints/`` until the run is complete: a run that was killed goes on from
the last one, if nothing that it depends on has changed.

    python -m stages.train ARM
"""

import shutil
from contextlib import closing
from dataclasses import replace

from stages.lib.core.files import file_sha256, write_json
from stages.lib.core.paths import (
    CHECKPOINTS,
    CONVERSATIONS,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Conversation, Example, Problem, content_id
from stages.lib.core.tables import read_parquet
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint, save_atomically
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from stages.lib.sft import batches, trainer, validation
from stages.lib.training import adapters, distributed, tracking
from stages.lib.training.checkpoints import checkpoint_dir


def main(arm: str) -> None:
    """Train an arm, in several processes if ``train.launch`` says so."""
    wanted = load_params()
    settings = wanted.train.for_arm(arm)
    if settings.launch is not None and not console.is_worker():
        distributed.launch_processes(settings.launch, "train", arm)
        return
    table = TRAINING / f"{arm}.parquet"
    base = MODELS / "base"
    fingerprint = model_fingerprint(base)
    tokenizer = loading.load_tokenizer(base)
    examples = read_parquet(table, Example)
    chosen = _chosen(settings.validation, seed=wanted.train.seed)
    to_learn, apart = (
        batches.tokenize_examples(some, tokenizer, wanted.prompts, settings)
        for some in validation.split_held_out(examples, chosen)
    )
    overlong = to_learn.overlong + apart.overlong
    if overlong:
        console.log_line(
            f"{arm}: train.max_length: {settings.max_length}: {overlong} of {len(examples)} "
            f"examples were longer: {settings.overlong}"
        )
    held_out = [replace(one, weight=1.0) for one in apart.tokens]
    micro_batches = batches.plan(to_learn, settings)
    # Who watches a training makes it no other.
    unwatched = settings.model_copy(update={"tracking": []})
    parameters = repr((unwatched, wanted.prompts))
    depends_on = content_id(fingerprint, file_sha256(table), parameters, *sorted(chosen))
    checkpoints = checkpoint_dir(arm, depends_on)
    model = adapters.load_trainable(base, settings.tuning, seed=settings.seed)
    counts = adapters.parameter_counts(model)
    console.log_line(
        f"train {arm}: {settings.tuning.method}, {counts['trainable']:,} of {counts['total']:,} "
        f"parameters ({counts['share']:.2%})"
    )
    run = tracking.Run(arm, depends_on, settings.model_dump(mode="json"))
    with (
        console.progress_bar(total=settings.steps, doing=f"train {arm}", unit="step") as progress,
        closing(
            tracking.Tracking(TRAINING_LOGS / arm, settings.tracking, run, validation.rows_by_step)
        ) as watching,
    ):
        fitted = trainer.train(
            model, tokenizer, micro_batches, settings, checkpoints, progress, held_out, [watching]
        )
    if console.rank() > 0:
        return
    if fitted.weights is not None:
        model = adapters.load_trainable(base, settings.tuning, seed=settings.seed)
        model.load_state_dict(fitted.weights)
    with save_atomically(MODELS / arm) as aside:
        adapters.merge_adapters(model).save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    kept = validation.best_step(fitted.log) if settings.keep == "best" else settings.steps
    write_json(
        TRAINING_LOGS / f"{arm}.json",
        {"method": settings.tuning.method, "kept_step": kept, "overlong": overlong}
        | validation.loss_at(fitted.log, kept)
        | batches.exposure_stats(micro_batches, to_learn)
        | counts,
    )
    shutil.rmtree(CHECKPOINTS / arm)


def _chosen(count: int, *, seed: int) -> set[str]:
    """Return what the problems and the conversations that are set apart ask first."""
    if count == 0:
        return set()
    asked = [one.question for one in read_parquet(TRAIN_PROBLEMS, Problem)]
    talk = [one.turns[0].question for one in read_parquet(CONVERSATIONS, Conversation)]
    return validation.choose_held_out(asked, count, seed=seed) | validation.choose_held_out(
        talk, count, seed=seed
    )


if __name__ == "__main__":
    console.run_stage("train", main, item="arm")
