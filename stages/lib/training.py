"""Supervised fine-tuning on TRL's trainer: planned micro-batches, exact weighted loss."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from stages.lib.attention import attend_per_example
from stages.lib.callbacks import COMPLETE, Progress, Termination
from stages.lib.loss import weighted_loss
from stages.lib.memory import keep_freed_memory
from stages.lib.optimizers import optimizer_of
from stages.lib.packing import Tokens
from stages.lib.params.training import Train
from stages.lib.tuning import Trainable, plain
from stages.lib.validation import Validation, restore, rows_by_step


class PlannedTrainer(SFTTrainer):
    """TRL's trainer on planned micro-batches: in their order, with the weighted loss."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the weighted loss of one micro-batch as its share of the step's."""
        if num_items_in_batch is None:
            raise ValueError("num_items_in_batch: None: expected the step's supervised tokens")
        # The count spans all processes, whose gradients are then averaged.
        return weighted_loss(model, inputs, num_items_in_batch) * self.accelerator.num_processes


def fit(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    micro_batches: Sequence[dict[str, list[Any]]],
    settings: Train,
    checkpoints: Path,
    shown: "tqdm[Any]",
    held_out: Sequence[Tokens] = (),
    watching: Sequence[TrainerCallback] = (),
) -> list[dict[str, Any]]:
    """Train a model in place, from the last whole checkpoint if there is one.

    ``held_out`` are the solutions that ``settings.evaluate_every`` and ``settings.keep``
    are about; ``watching`` are told of every step. Returns the rows of
    ``validation.rows_by_step``. Raises ValueError for a loss that is not a number, and
    InterruptedError after a SIGTERM, when a checkpoint has been saved.
    """
    keep_freed_memory()
    attend_per_example(plain(model))
    optimizer, options = optimizer_of(settings.tuning)
    termination = Termination()
    callbacks = [Progress(shown, _problems_by_step(micro_batches, settings)), termination]
    best = checkpoints / "best.safetensors"
    if settings.evaluate_every is not None:
        kept = best if settings.keep == "best" else None
        callbacks.append(Validation(held_out, every=settings.evaluate_every, best=kept))
    trainer = PlannedTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(list(micro_batches)),
        data_collator=_one_row,
        args=_arguments(settings, checkpoints),
        callbacks=[*callbacks, *watching],
        optimizer_cls_and_kwargs=(optimizer, {"lr": settings.learning_rate} | options),
    )
    _keep_adapters_in_32_bit(model)
    with termination.awaited():
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(checkpoints))
    if settings.keep == "best":
        restore(model, best)
    return rows_by_step(trainer.state.log_history)


def _keep_adapters_in_32_bit(model: Trainable) -> None:
    # Beside quantized weights TRL's trainer has made them bf16, where small steps are lost.
    if isinstance(model, PeftModel):
        for param in model.parameters():
            if param.requires_grad:
                param.data = param.data.float()


def _arguments(settings: Train, checkpoints: Path) -> SFTConfig:
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.micro_batches,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        save_steps=settings.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=settings.seed,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        disable_tqdm=True,
        report_to="none",
    )


def _one_row(rows: Sequence[Mapping[str, list[Any]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([values]) for name, values in rows[0].items() if name != "problems"}


def _problems_by_step(
    micro_batches: Sequence[Mapping[str, list[Any]]], settings: Train
) -> list[list[str]]:
    count = settings.micro_batches
    return [
        [problem for row in micro_batches[at : at + count] for problem in row["problems"]]
        for at in range(0, len(micro_batches), count)
    ]


def _last_whole_checkpoint(checkpoints: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; remove the others."""
    whole = sorted(
        (path.parent for path in checkpoints.glob(f"checkpoint-*/{COMPLETE}")),
        key=lambda folder: int(folder.name.rpartition("-")[2]),
    )
    for folder in checkpoints.glob("checkpoint-*"):
        if folder not in whole:
            shutil.rmtree(folder)
    return str(whole[-1]) if whole else None
