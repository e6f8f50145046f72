"""Training tokens per second: our planned trainer against TRL's, with packing.

Both sides train once on the same examples, as the same tokens, from the same weights
with the same learning rate, in steps of about the same size; the order is each one's
own. The stock side is ``SFTTrainer`` with packing and its own defaults otherwise.
``losses`` are each side's by optimizer step and ``held_out`` those on examples that
neither has seen (before, ours, peer), in nats per supervised token. ``flops_share`` is
our side's model FLOPs a second as a share of what a plain bf16 matrix product reaches.

    python -m benchmarks.training
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from benchmarks.flops import bf16_ceiling, of_training
from benchmarks.report import line, measured
from stages.lib.core.paths import MODELS, TOKENS, TRAINING
from stages.lib.core.schema import Example
from stages.lib.core.tables import read_parquet
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.training import Train
from stages.lib.prompts import tokenize
from stages.lib.runtime.console import progress_bar
from stages.lib.sft.batches import TrainingPlan, plan_training
from stages.lib.sft.tokens import tokenize_examples
from stages.lib.sft.trainer import train
from stages.lib.training import packing
from stages.lib.training.likelihood import negative_log_likelihoods

# A step is about four full rows of 512 tokens, half of them supervised.
STEPS, TOKENS_PER_STEP, ROWS_PER_STEP, HELD_OUT = 8, 928, 4, 100


def settings() -> Train:
    """Return the ``train`` stage's settings for a short run without a schedule."""
    return load_params().train.model_copy(
        update={
            "steps": STEPS,
            "tokens_per_step": TOKENS_PER_STEP,
            "save_every": STEPS,
            "warmup_steps": 0,
            "schedule": "constant_with_warmup",
        }
    )


def examples() -> tuple[list[Example], list[Example]]:
    """Return the uniform arm's examples: those to train on, and those held out."""
    found = read_parquet(TRAINING / "uniform.parquet", Example)
    return found[HELD_OUT:], found[:HELD_OUT]


def plan() -> TrainingPlan:
    """Return the micro-batches that we train on."""
    base, chosen = MODELS / "base", settings()
    tokenizer = loading.load_tokenizer(base)
    cache = TOKENS / model_fingerprint(base)
    data = tokenize_examples(examples()[0], tokenizer, load_params().prompts, chosen, cache)
    return plan_training(data, chosen)


def rows() -> list[dict[str, list[Any]]]:
    """Return the rows of those micro-batches."""
    planned = plan()
    return [planned.row(index) for index in range(len(planned.micro_batches))]


def tokens_of_examples() -> list[dict[str, list[int]]]:
    """Return the examples in those micro-batches one by one, as TRL takes them."""
    found: list[dict[str, list[int]]] = []
    for row in rows():
        for token, label, position in zip(
            row["input_ids"], row["labels"], row["position_ids"], strict=True
        ):
            if position == 0:
                found.append({"input_ids": [], "completion_mask": []})
            found[-1]["input_ids"].append(token)
            found[-1]["completion_mask"].append(int(label != packing.IGNORED))
    return found


def held_out_loss(model: PreTrainedModel) -> float:
    """Return the mean negative log-likelihood of the held-out responses, in nats."""
    tokenizer = loading.load_tokenizer(MODELS / "base")
    prompts, limit = load_params().prompts, settings().max_length
    tokens = [tokenize.tokenize(one, tokenizer, prompts, limit) for one in examples()[1]]
    found = negative_log_likelihoods(model.bfloat16().eval(), tokens, lambda _: None)
    return sum(found) / sum(one.supervised for one in tokens)


def ours() -> dict[str, Any]:
    """Measure the trainer of the ``train`` stage."""
    chosen, planned = settings(), plan()
    tokenizer = loading.load_tokenizer(MODELS / "base")
    model = loading.load_model(MODELS / "base", torch.bfloat16)
    with (
        TemporaryDirectory() as folder,
        progress_bar(total=STEPS, desc="ours", unit="step") as shown,
    ):
        started = time.monotonic()
        log = train(model, tokenizer, planned, chosen, Path(folder), shown).log
        seconds = time.monotonic() - started
    tokens = sum(planned.data.lengths[i] for batch in planned.micro_batches for i in batch)
    flops = of_training(model, tokens, STEPS * TOKENS_PER_STEP)
    return {
        "rate": tokens / seconds,
        "flops_share": flops / seconds / bf16_ceiling(),
        "losses": [round(entry["loss"], 3) for entry in log],
        "held_out": held_out_loss(model),
    }


def peer() -> dict[str, Any]:
    """Measure TRL's trainer with packing."""
    tokens, chosen = tokens_of_examples(), settings()
    with TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=str(MODELS / "base"),
            train_dataset=Dataset.from_list(tokens),
            processing_class=loading.load_tokenizer(MODELS / "base"),
            args=SFTConfig(
                output_dir=folder,
                use_cpu=not torch.cuda.is_available(),
                packing=True,
                completion_only_loss=True,
                max_length=chosen.max_length,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=ROWS_PER_STEP,
                num_train_epochs=1,
                learning_rate=chosen.learning_rate,
                lr_scheduler_type="constant",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    return {
        "rate": sum(len(one["input_ids"]) for one in tokens) / seconds,
        "losses": [round(e["loss"], 3) for e in trainer.state.log_history if "loss" in e],
        "held_out": held_out_loss(trainer.accelerator.unwrap_model(trainer.model)),
    }


def before() -> dict[str, Any]:
    """Return the loss before training."""
    return {"held_out": held_out_loss(loading.load_model(MODELS / "base", torch.bfloat16))}


def main() -> None:
    """Measure both sides."""
    sides = {"before": before, "ours": ours, "peer": peer}
    if len(sys.argv) > 1:
        print(json.dumps(sides[sys.argv[1]]()))
        return
    found = {side: measured("benchmarks.training", side) for side in sides}
    print(
        line(
            "training",
            ours=found["ours"]["rate"],
            peer=found["peer"]["rate"],
            unit="tokens/s",
            against="TRL SFTTrainer with packing",
            better="more",
            flops_share=round(found["ours"]["flops_share"], 3),
            losses=[found["ours"]["losses"], found["peer"]["losses"]],
            held_out=[round(side["held_out"], 3) for side in found.values()],
        )
    )


if __name__ == "__main__":
    main()
