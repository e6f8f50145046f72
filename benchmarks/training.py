"""Training tokens per second: our planned trainer against TRL's, with packing.

Both sides train once on the same examples, as the same tokens, from the same weights with the same
learning rate, in steps of about the same size; each has its own order. The peer is ``SFTTrainer``
with packing and its defaults otherwise. ``losses`` are each side's by optimizer step, and
``held_out`` those on held-out examples (before, ours, peer), in nats per supervised token.
``flops_share`` is our model FLOPs per second as a share of those of a plain bf16 matrix product.

    python -m benchmarks.training
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from benchmarks.flops import bf16_ceiling
from benchmarks.report import print_line, run_sides
from stages.lib.core.paths import MODELS, TOKENS, TRAINING
from stages.lib.core.schema import Example
from stages.lib.core.tables import read_parquet
from stages.lib.costs.flops import training_flops
from stages.lib.models import loading
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.params.load import load_params
from stages.lib.params.model_source import ModelSource
from stages.lib.params.training import Train
from stages.lib.prompts.tokenize import tokenize
from stages.lib.provenance.catalog import find_shape
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


def load_examples() -> tuple[list[Example], list[Example]]:
    """Return the uniform arm's examples: training and held-out ones."""
    examples = read_parquet(TRAINING / "uniform.parquet", Example)
    return examples[HELD_OUT:], examples[:HELD_OUT]


def plan() -> TrainingPlan:
    """Return our micro-batches."""
    base, chosen = MODELS / "base", settings()
    tokenizer = loading.load_tokenizer(base)
    cache = TOKENS / model_fingerprint(base)
    data = tokenize_examples(load_examples()[0], tokenizer, load_params().prompts, chosen, cache)
    return plan_training(data, chosen)


def unpack_examples() -> list[dict[str, list[int]]]:
    """Return the examples of those micro-batches one by one, in TRL's format."""
    planned = plan()
    examples: list[dict[str, list[int]]] = []
    for row in map(planned.row, range(len(planned.micro_batches))):
        for token, label, position in zip(
            row["input_ids"], row["labels"], row["position_ids"], strict=True
        ):
            if position == 0:
                examples.append({"input_ids": [], "completion_mask": []})
            examples[-1]["input_ids"].append(token)
            examples[-1]["completion_mask"].append(int(label != packing.IGNORED))
    return examples


def held_out_loss(model: PreTrainedModel) -> float:
    """Return the mean negative log-likelihood of the held-out responses, in nats."""
    tokenizer = loading.load_tokenizer(MODELS / "base")
    prompts = load_params().prompts
    tokens = [tokenize(example, tokenizer, prompts) for example in load_examples()[1]]
    losses = negative_log_likelihoods(model.bfloat16().eval(), tokens, lambda _: None)
    return sum(losses) / sum(example.supervised for example in tokens)


def measure_ours() -> dict[str, Any]:
    """Measure the trainer of the ``train`` stage."""
    chosen, planned = settings(), plan()
    tokenizer = loading.load_tokenizer(MODELS / "base")
    model = loading.load_model(MODELS / "base", torch.bfloat16)
    with (
        TemporaryDirectory() as folder,
        progress_bar(total=STEPS, desc="ours", unit="step") as progress,
    ):
        started = time.monotonic()
        log = train(model, tokenizer, planned, chosen, Path(folder), progress).log
        seconds = time.monotonic() - started
    tokens = sum(planned.data.lengths[i] for batch in planned.micro_batches for i in batch)
    shape = find_shape(ModelSource("folder", str(MODELS / "base")))
    assert shape is not None
    # Without attention scores, a few percent at these lengths.
    supervised = STEPS * TOKENS_PER_STEP
    flops = training_flops(shape, tokens=tokens, supervised=supervised, context=0)
    return {
        "rate": tokens / seconds,
        "flops_share": flops / seconds / bf16_ceiling(),
        "losses": [round(entry["loss"], 3) for entry in log],
        "held_out": held_out_loss(model),
    }


def measure_peer() -> dict[str, Any]:
    """Measure TRL's trainer with packing."""
    tokens, chosen = unpack_examples(), settings()
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
                # Not STEPS: how many rows there are, and so steps, is up to the packing.
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
        "rate": sum(len(example["input_ids"]) for example in tokens) / seconds,
        "losses": [
            round(entry["loss"], 3) for entry in trainer.state.log_history if "loss" in entry
        ],
        "held_out": held_out_loss(trainer.accelerator.unwrap_model(trainer.model)),
    }


def measure_before() -> dict[str, Any]:
    """Return the loss before training."""
    return {"held_out": held_out_loss(loading.load_model(MODELS / "base", torch.bfloat16))}


def main() -> None:
    """Measure both sides."""
    before, ours, peer = run_sides(
        "benchmarks.training", before=measure_before, ours=measure_ours, peer=measure_peer
    )
    print_line(
        "training",
        ours=ours["rate"],
        peer=peer["rate"],
        unit="tokens/s",
        against="TRL SFTTrainer with packing",
        better="more",
        flops_share=round(ours["flops_share"], 3),
        losses=[ours["losses"], peer["losses"]],
        held_out=[round(side["held_out"], 3) for side in (before, ours, peer)],
    )


if __name__ == "__main__":
    main()
