"""Fine-tune the base model on one arm's examples.

Reads the base model and ``data/training/<arm>.parquet``; writes
``data/models/<arm>/`` (adapters are merged into it), ``reports/training/<arm>.csv``
(loss and learning rate by step, held-out loss where it was measured) and, beside it,
``<arm>.json`` (how many parameters were trained, whose step's are kept, and their held-out
loss if it was measured). Checkpoints
lie in ``data/checkpoints/`` until the run is complete: a run that was killed goes on from
the last one, if nothing that it depends on has changed.

    python -m stages.train ARM
"""

import shutil
from dataclasses import replace

from stages.lib import console, models, packing, params, training, tuning, validation
from stages.lib.files import file_sha256, replacing, write_json
from stages.lib.paths import CHECKPOINTS, MODELS, TRAINING, TRAINING_LOGS
from stages.lib.records import Example, content_id, read_parquet
from stages.lib.tables import write_csv


def main(arm: str) -> None:
    """Train an arm."""
    wanted = params.load()
    settings = wanted.train.for_arm(arm)
    table = TRAINING / f"{arm}.parquet"
    base = MODELS / "base"
    tokenizer = models.load_tokenizer(base)
    examples = read_parquet(table, Example)
    if settings.too_long == "drop":
        examples = packing.drop_too_long(
            examples,
            tokenizer,
            wanted.prompts,
            settings,
            lambda line: console.say(f"{arm}: {line}"),
        )
    examples, apart = validation.set_apart(examples, settings.validation, seed=settings.seed)
    held_out = [
        replace(packing.tokenize(one, tokenizer, wanted.prompts, settings.max_length), weight=1.0)
        for one in apart
    ]
    micro_batches = packing.plan(examples, tokenizer, wanted.prompts, settings)
    depends_on = content_id(
        models.fingerprint(base), file_sha256(table), repr((settings, wanted.prompts))
    )
    checkpoints = CHECKPOINTS / arm / depends_on
    for other in sorted((CHECKPOINTS / arm).glob("*")):
        if other != checkpoints:
            console.say(f"{arm}: not used, of other parameters or data: {other}")
    model = tuning.load_trainable(base, settings.tuning, seed=settings.seed)
    counts = tuning.parameter_counts(model)
    console.say(
        f"train {arm}: {settings.tuning.method}, {counts['trainable']:,} of {counts['total']:,} "
        f"parameters ({counts['share']:.2%})"
    )
    with console.bar(total=settings.steps, doing=f"train {arm}", unit="step") as progress:
        log = training.fit(
            model, tokenizer, micro_batches, settings, checkpoints, progress, held_out
        )
    with replacing(MODELS / arm) as aside:
        tuning.merged(model).save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    write_csv(TRAINING_LOGS / f"{arm}.csv", log)
    kept = validation.best_step(log) if settings.keep == "best" else settings.steps
    write_json(
        TRAINING_LOGS / f"{arm}.json",
        {"method": settings.tuning.method, "kept_step": kept}
        | validation.loss_at(log, kept)
        | counts,
    )
    shutil.rmtree(CHECKPOINTS / arm)


if __name__ == "__main__":
    console.run("train", main, item="arm")
