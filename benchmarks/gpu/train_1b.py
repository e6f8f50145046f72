"""Training of a 1B model: ours, eager and compiled, and TRL's trainer, in one run.

The three have random weights of the shape of Llama-3.2-1B, the same examples, rows of 16,384
tokens and attention within examples. TRL's packs by its own rule and has its defaults otherwise.

    python -m benchmarks.gpu.train_1b [ours | compiled | trl]
"""

import sys
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from benchmarks.gpu.common import (
    Clock,
    Result,
    any_tokenizer,
    device,
    random_examples,
    random_model,
)
from benchmarks.gpu.training import run_training
from benchmarks.report import run_module
from stages.lib.provenance.catalog import LLAMA_1B, Shape
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import as_tensors

MODULE = "benchmarks.gpu.train_1b"
STEPS, SKIP, ROW_TOKENS, LONGEST, ROWS = 15, 5, 16_384, 2048, 2


def measure_ours(
    *,
    compiles: bool,
    shape: Shape = LLAMA_1B,
    row_tokens: int = ROW_TOKENS,
    longest: int = LONGEST,
    steps: int = STEPS,
) -> dict[str, float]:
    """Return the tokens per second of our trainer."""
    clock = Clock()
    data = random_examples(shape, ROWS * row_tokens * steps, longest=longest)
    run = run_training(
        shape,
        random_model(shape),
        data,
        clock,
        steps=steps,
        row_tokens=row_tokens,
        rows=ROWS,
        compile=compiles,
        learning_rate=1e-5,
    )
    return {"rate": run.tokens_per_step / clock.seconds_per_step(min(SKIP, steps - 1))}


def measure_trl(
    *,
    shape: Shape = LLAMA_1B,
    row_tokens: int = ROW_TOKENS,
    longest: int = LONGEST,
    steps: int = STEPS,
) -> dict[str, float]:
    """Return the tokens per second of TRL's trainer with packing."""
    data = random_examples(shape, ROWS * row_tokens * (steps + 1), longest=longest)
    model = random_model(shape)
    clock = Clock()
    with TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=any_tokenizer(),
            train_dataset=_as_trl(data),
            args=SFTConfig(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=ROWS,
                packing=True,
                padding_free=True,
                max_length=row_tokens,
                bf16=False,
                gradient_checkpointing=False,
                learning_rate=1e-5,
                optim="adamw_torch_fused",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
            ),
            callbacks=[clock],
        )
        collate = trainer.data_collator
        seen: list[int] = []

        def with_bounds(rows: list[dict[str, Any]]) -> dict[str, Any]:
            batch = collate(rows)
            seen.append(batch["input_ids"].numel())
            bounds = as_tensors({"position_ids": batch["position_ids"][0].tolist()})
            return {
                **batch,
                **{name: value for name, value in bounds.items() if name != "position_ids"},
            }

        trainer.data_collator = with_bounds
        attend_per_example(model, device())
        trainer.train()
    per_step = ROWS * sum(seen) / len(seen)
    return {"rate": per_step / clock.seconds_per_step(min(SKIP, steps - 1))}


def _as_trl(data: Any) -> Dataset:
    tokens = [data[i] for i in range(len(data))]
    return Dataset.from_dict(
        {
            "input_ids": [example.ids for example in tokens],
            "completion_mask": [
                [int(learned) for learned in example.loss_mask] for example in tokens
            ],
        }
    )


def measure() -> Result:
    """Measure the three, each in a process of its own."""
    rates = {
        side: run_module(MODULE, side)["figures"]["rate"] for side in ("ours", "compiled", "trl")
    }
    return judge(rates)


def judge(rates: dict[str, float]) -> Result:
    """Return the result for the rates of the three."""
    best = max(rates["ours"], rates["compiled"])
    return Result(
        "train_1b",
        "ours, eager or compiled, ahead of TRL's trainer",
        best > rates["trl"],
        {name: round(rate) for name, rate in rates.items()}
        | {"ratio": round(best / rates["trl"], 2)},
    )


SIDES = {
    "ours": lambda: measure_ours(compiles=False),
    "compiled": lambda: measure_ours(compiles=True),
    "trl": measure_trl,
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        Result(sys.argv[1], "", True, SIDES[sys.argv[1]]()).print_line()
    else:
        measure().print_line()
