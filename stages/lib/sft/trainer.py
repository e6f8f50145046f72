"""Supervised fine-tuning on TRL's trainer: planned micro-batches, exact weighted loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from stages.lib.params.training import Train
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.devices import use_one_gpu
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.sft.loss import weighted_loss
from stages.lib.sft.validation import Validation, restore, rows_by_step
from stages.lib.training.adapters import Trainable, unwrap, upcast_adapters
from stages.lib.training.attention import attend_per_example
from stages.lib.training.callbacks import Progress, Termination
from stages.lib.training.checkpoints import latest_complete
from stages.lib.training.optim import optimizer_of

Weights = dict[str, torch.Tensor]

# What accelerate calls the ways in which processes share the work.
_KINDS = {
    None: {DistributedType.NO},
    "ddp": {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU},
    "fsdp2": {DistributedType.FSDP},
    "zero1": {DistributedType.DEEPSPEED},
    "zero3": {DistributedType.DEEPSPEED},
}


class PlannedTrainer(SFTTrainer):
    """TRL's trainer on planned micro-batches: in their order, with the weighted loss."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take TRL's arguments."""
        super().__init__(*arguments, **options)
        # The step's tokens are for compute_loss, whatever a model takes itself.
        self.model_accepts_loss_kwargs = True

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


@dataclass(frozen=True)
class TrainOutput:
    """What came of training: the rows of ``validation.rows_by_step``, and the weights.

    ``weights`` are None where the model holds them itself. Otherwise each process held a
    part, and the first has got the whole, the others nothing.
    """

    log: list[dict[str, Any]]
    weights: Weights | None


def train(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    micro_batches: Sequence[dict[str, list[Any]]],
    settings: Train,
    checkpoints: Path,
    shown: "tqdm[Any]",
    held_out: Sequence[TokenizedExample] = (),
    watching: Sequence[TrainerCallback] = (),
) -> TrainOutput:
    """Train a model, from the last whole checkpoint if there is one.

    ``held_out`` are the solutions that ``settings.evaluate_every`` and ``settings.keep``
    are about; ``watching`` are told of every step. Raises ValueError for a loss that is
    not a number, and InterruptedError after a SIGTERM, when a checkpoint has been saved.
    """
    keep_freed_memory()
    attend_per_example(unwrap(model))
    deepspeed = settings.launch is not None and settings.launch.is_deepspeed()
    optimizer, options = optimizer_of(settings.tuning, deepspeed=deepspeed)
    termination = Termination()
    callbacks = [Progress(shown, _problems_by_step(micro_batches, settings), "loss"), termination]
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
    upcast_adapters(model)
    _check_launch(trainer.accelerator, settings)
    with termination.awaited():
        trainer.train(resume_from_checkpoint=latest_complete(checkpoints))
    if settings.keep == "best":
        restore(model, best)
    split = settings.launch is not None and settings.launch.splits_the_model()
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if split else None
    return TrainOutput(rows_by_step(trainer.state.log_history), cast(Weights | None, weights))


def _check_launch(there: Accelerator, settings: Train) -> None:
    """Check that the processes found each other: accelerate says nothing if they did not."""
    strategy = None if settings.launch is None else settings.launch.strategy
    if there.num_processes != settings.processes():
        raise ValueError(
            f"train.launch: {settings.processes()} processes by {strategy}: "
            f"{there.num_processes} train together"
        )
    if there.distributed_type not in _KINDS[strategy]:
        raise ValueError(
            f"train.launch.strategy: '{strategy}': expected 'ddp' where there are no GPUs"
        )


def _arguments(settings: Train, checkpoints: Path) -> SFTConfig:
    launch = settings.launch
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.micro_batches // settings.processes(),
        use_cpu=not torch.cuda.is_available(),  # else processes on CPUs do not find each other
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
        # Bf16 by autocast: the model is in bf16 anyway, but DeepSpeed has to be told.
        bf16=launch is not None and launch.is_deepspeed(),
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        disable_tqdm=True,
        report_to="none",
    )
    use_one_gpu(arguments)
    return arguments


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
