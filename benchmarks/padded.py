"""Training tokens per second: our planned trainer against the SDAT authors' method.

The peer is transformers' ``Trainer`` with examples as text, which a collator tokenizes on demand
and pads to 512 tokens; logits are computed at every position. Both sides count the tokens of
examples without padding. The peer gets fewer of the same examples, since each takes it seconds.

    python -m benchmarks.padded
"""

import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from benchmarks import training
from benchmarks.report import print_line, run_sides
from stages.lib.core.paths import MODELS
from stages.lib.models import loading
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import prompt_response_pairs
from stages.lib.training import packing

LENGTH, STEPS, EXAMPLES_PER_STEP = 512, 4, 8


class Collator:
    """Tokenizes and pads the examples of a batch."""

    def __init__(self) -> None:
        """Load the tokenizer."""
        self.tokenizer = loading.load_tokenizer(MODELS / "base")
        self.tokens = 0

    def __call__(self, rows: Sequence[dict[str, str]]) -> dict[str, torch.Tensor]:
        """Return a batch whose labels mask the prompts and the padding."""
        batch = self.tokenizer(
            [row["prompt"] + row["response"] for row in rows],
            padding="max_length",
            max_length=LENGTH,
            truncation=True,
            return_tensors="pt",
            add_special_tokens=False,
        )
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, packing.IGNORED)
        for label, row in zip(labels, rows, strict=True):
            prompt = self.tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            label[: len(prompt)] = packing.IGNORED
        self.tokens += int(batch["attention_mask"].sum())
        return {**batch, "labels": labels}


def measure_peer() -> dict[str, Any]:
    """Measure transformers' trainer on padded examples."""
    prompts, collator = load_params().prompts, Collator()
    rows = [
        {"prompt": prompt, "response": response}
        for example in training.load_examples()[0][: STEPS * EXAMPLES_PER_STEP]
        for prompt, response in prompt_response_pairs(
            collator.tokenizer, prompts, example.turns, system=""
        )
    ]
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            model=loading.load_model(MODELS / "base", torch.bfloat16),
            train_dataset=Dataset.from_list(rows),
            data_collator=collator,
            args=TrainingArguments(
                output_dir=folder,
                use_cpu=not torch.cuda.is_available(),
                per_device_train_batch_size=EXAMPLES_PER_STEP,
                max_steps=STEPS,
                learning_rate=training.settings().learning_rate,
                # The collator needs the texts, which the model does not take.
                remove_unused_columns=False,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    return {"rate": collator.tokens / seconds}


def main() -> None:
    """Measure both sides."""
    ours, peer = run_sides("benchmarks.padded", ours=training.measure_ours, peer=measure_peer)
    print_line(
        "training, padded peer",
        ours=ours["rate"],
        peer=peer["rate"],
        unit="tokens/s",
        against=f"transformers' Trainer, padded to {LENGTH}",
        better="more",
    )


if __name__ == "__main__":
    main()
