"""Training tokens per second: our planned trainer against TRL's, with packing.

The same examples from the same weights with the same learning rate. The stock side is
``SFTTrainer`` with packing and its own defaults otherwise. ``held_out_loss`` (nats per
token, before, ours, peer) shows that both have learned the same after as many tokens.

    python -m benchmarks.training
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from benchmarks.report import line, measured
from stages.lib import models, packing, params, training
from stages.lib.console import bar
from stages.lib.paths import MODELS, TRAINING
from stages.lib.perplexity import negative_log_likelihood
from stages.lib.prompts import Turn, prompt_text, response_text
from stages.lib.records import Example, read_parquet

STEPS, TOKENS_PER_STEP, HELD_OUT = 8, 1024, 100


def examples() -> tuple[list[Example], list[Example]]:
    """Return the uniform arm's examples: those to train on, and those held out."""
    found = read_parquet(TRAINING / "uniform.parquet", Example)
    return found[HELD_OUT:], found[:HELD_OUT]


def held_out_loss(model: torch.nn.Module) -> float:
    """Return the mean negative log-likelihood of the held-out responses, in nats."""
    wanted = params.load()
    tokenizer = models.load_tokenizer(MODELS / "base")
    tokens = [
        packing.tokenize(one, tokenizer, wanted.prompts, wanted.train.max_length)
        for one in examples()[1]
    ]
    total, count = negative_log_likelihood(model.bfloat16().eval(), tokens, lambda _: None)
    return total / count


def ours() -> dict[str, float]:
    """Measure the trainer of the ``train`` stage."""
    wanted = params.load()
    settings = wanted.train.model_copy(
        update={
            "steps": STEPS,
            "tokens_per_step": TOKENS_PER_STEP,
            "save_every": STEPS + 1,
            "warmup_steps": 0,
            "schedule": "constant_with_warmup",
        }
    )
    tokenizer = models.load_tokenizer(MODELS / "base")
    rows = packing.plan(examples()[0], tokenizer, wanted.prompts, settings)
    model = models.load_model(MODELS / "base", torch.bfloat16)
    before = held_out_loss(model)
    model.train()
    with TemporaryDirectory() as folder, bar(total=STEPS, doing="ours", unit="step") as shown:
        started = time.monotonic()
        training.fit(model, tokenizer, rows, settings, Path(folder), shown)
        seconds = time.monotonic() - started
    tokens = sum(len(row["input_ids"]) for row in rows)
    return {"rate": tokens / seconds, "before": before, "after": held_out_loss(model)}


def peer() -> dict[str, float]:
    """Measure TRL's trainer with packing, for about as many tokens."""
    wanted = params.load()
    tokenizer = models.load_tokenizer(MODELS / "base")
    turns = [Turn(one.question, one.response) for one in examples()[0]]
    pairs = Dataset.from_list(
        [
            {
                "prompt": prompt_text(tokenizer, wanted.prompts, turn.question),
                "completion": response_text(tokenizer, wanted.prompts, turn).removesuffix(
                    str(tokenizer.eos_token)
                ),
            }
            for turn in turns
        ]
    )
    with TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=str(MODELS / "base"),
            train_dataset=pairs,
            processing_class=tokenizer,
            args=SFTConfig(
                output_dir=folder,
                use_cpu=not torch.cuda.is_available(),
                packing=True,
                max_length=wanted.train.max_length,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=wanted.train.micro_batches,
                max_steps=STEPS,
                learning_rate=wanted.train.learning_rate,
                lr_scheduler_type="constant",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    tokens = trainer.state.num_input_tokens_seen or trainer._total_train_tokens  # noqa: SLF001
    trained = trainer.accelerator.unwrap_model(trainer.model)
    return {"rate": tokens / seconds, "after": held_out_loss(trained)}


def main() -> None:
    """Measure both sides."""
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "peer": peer}[sys.argv[1]]()))
        return
    first, second = (measured("benchmarks.training", side) for side in ("ours", "peer"))
    print(
        line(
            "training",
            ours=first["rate"],
            peer=second["rate"],
            unit="tokens/s",
            against="TRL SFTTrainer with packing",
            better="more",
            held_out_loss=[
                round(loss, 3) for loss in (first["before"], first["after"], second["after"])
            ],
        )
    )


if __name__ == "__main__":
    main()
