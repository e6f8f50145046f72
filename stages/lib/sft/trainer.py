"""Supervised fine-tuning on TRL's trainer: planned micro-batches, exact weighted loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from stages.lib.params.training import Train
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.sft.batches import Plan
from stages.lib.sft.factors import LossFactor
from stages.lib.sft.loss import ExampleScore, weighted_loss
from stages.lib.sft.online import Feedback, OnlinePlan
from stages.lib.sft.validation import Validation, restore, rows_by_step
from stages.lib.training.adapters import Trainable, unwrap, upcast_adapters
from stages.lib.training.arguments import trainer_arguments
from stages.lib.training.attention import attend_per_example
from stages.lib.training.callbacks import Progress, Termination
from stages.lib.training.checkpoints import latest_complete
from stages.lib.training.compilation import compile_layers
from stages.lib.training.distributed import count_processes, splits_model
from stages.lib.training.optim import optimizer_of
from stages.lib.training.packing import as_tensors
from stages.lib.training.sharding import Weights, gather_weights, shard

# How accelerate names each strategy.
_DISTRIBUTED_TYPES = {
    None: {DistributedType.NO},
    "ddp": {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU},
    "fsdp2": {DistributedType.FSDP},
}


class PlannedTrainer(SFTTrainer):
    """TRL's trainer on planned micro-batches: in their order, with the weighted loss."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take TRL's arguments."""
        super().__init__(*arguments, **options)
        # Pass num_items_in_batch to compute_loss even if the model's forward ignores it.
        self.model_accepts_loss_kwargs = True
        self.on_scores: Callable[[list[ExampleScore]], object] | None = None
        self.factor: LossFactor | None = None
        self.base: torch.nn.Module | None = None

    def prepare_loss(
        self,
        factor: LossFactor | None,
        base: PreTrainedModel | None,
        on_scores: Callable[[list[ExampleScore]], object],
    ) -> None:
        """Weigh losses by a factor, which the frozen base model may be needed for."""
        self.factor, self.on_scores = factor, on_scores
        if base is not None:
            attend_per_example(base, self.accelerator.device)
            frozen: torch.nn.Module = base.requires_grad_(False).eval()
            self.base = frozen.to(self.accelerator.device)

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
        loss = weighted_loss(
            model,
            inputs,
            num_items_in_batch,
            self.on_scores,
            self.factor,
            self.base,
            # On a CPU it would score prompts, too, and be slower than plain logits.
            fused=self.accelerator.device.type == "cuda",
        )
        return loss * self.accelerator.num_processes


@dataclass(frozen=True)
class TrainOutput:
    """The log of a training (``validation.rows_by_step``), and the weights if they were split.

    ``weights`` are None where the model holds them itself. Where each process held a part,
    the first process gets the whole and the others nothing.
    """

    log: list[dict[str, Any]]
    weights: Weights | None


def train(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    plan: Plan,
    settings: Train,
    checkpoints: Path,
    progress: "tqdm[Any]",
    validation_examples: Sequence[TokenizedExample] = (),
    callbacks: Sequence[TrainerCallback] = (),
    base: PreTrainedModel | None = None,
) -> TrainOutput:
    """Train a model, from the last complete checkpoint if there is one.

    The loss on ``validation_examples`` is measured as ``settings.evaluate_every`` and
    ``settings.keep`` ask. ``base`` is the frozen model that a loss factor may need. Raises
    ValueError for a loss that is not finite, and InterruptedError after a SIGTERM, when a
    checkpoint has been saved.
    """
    keep_freed_memory()
    best = checkpoints / "best.safetensors"
    termination = Termination()
    scores: list[ExampleScore] = []
    # First: a checkpoint is marked as complete when the observations are in it.
    feedback = [Feedback(plan, scores)] if isinstance(plan, OnlinePlan) else []
    own = [*feedback, Progress(progress, plan.problem_ids, "loss"), termination]
    if settings.evaluate_every is not None:
        file = best if settings.keep == "best" else None
        own.append(Validation(validation_examples, every=settings.evaluate_every, best=file))
    trainer = PlannedTrainer(
        model=model,
        processing_class=tokenizer,
        # The trainer's data are the numbers of the micro-batches; rows are built one at a time.
        train_dataset=Dataset.from_dict({"index": range(settings.steps * plan.per_step)}),
        data_collator=partial(_build_row, plan),
        args=_arguments(settings, plan.per_step, checkpoints),
        callbacks=[*own, *callbacks],
        optimizer_cls_and_kwargs=_optimizer(settings),
    )
    _prepare(model, trainer.accelerator.device, settings)
    trainer.prepare_loss(plan.factor, base, scores.extend)
    _check_launch(trainer.accelerator, settings)
    checkpoint = latest_complete(checkpoints)
    if feedback and checkpoint is not None:
        feedback[0].plan.restore(Path(checkpoint))
    with termination.handle_sigterm():
        trainer.train(resume_from_checkpoint=checkpoint)
    if settings.keep == "best":
        restore(model, best)
    return TrainOutput(rows_by_step(trainer.state.log_history), _gathered(trainer, settings))


def _prepare(model: Trainable, device: torch.device, settings: Train) -> None:
    """Choose the attention for the device, which the trainer moves the model to when it begins."""
    attend_per_example(unwrap(model), device)
    if settings.compile:
        compile_layers(unwrap(model))
    upcast_adapters(model)


def _optimizer(settings: Train) -> tuple[Any, dict[str, Any]]:
    """Return the class of the optimizer and its options."""
    optimizer, options = optimizer_of(
        settings.tuning, seed=settings.seed, sharded=splits_model(settings.launch)
    )
    return optimizer, {"lr": settings.learning_rate} | options


def _gathered(trainer: PlannedTrainer, settings: Train) -> Weights | None:
    """Return the whole weights of a model that the processes split, else None."""
    if not splits_model(settings.launch):
        return None
    return gather_weights(trainer.accelerator, trainer.model_wrapped)


def _build_row(plan: Plan, batch: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Return the row of the one micro-batch whose number ``batch`` holds, as a collator does."""
    return as_tensors(plan.row(batch[0]["index"]))


def _check_launch(accelerator: Accelerator, settings: Train) -> None:
    """Check that the processes found each other: accelerate says nothing if they did not."""
    strategy = None if settings.launch is None else settings.launch.strategy
    expected = count_processes(settings.launch)
    if accelerator.num_processes != expected:
        raise ValueError(
            f"train.launch: {expected} processes by {strategy}: "
            f"{accelerator.num_processes} train together"
        )
    if accelerator.distributed_type not in _DISTRIBUTED_TYPES[strategy]:
        raise ValueError(
            f"train.launch.strategy: '{strategy}': expected 'ddp' where there are no GPUs"
        )


def _arguments(settings: Train, micro_batches: int, checkpoints: Path) -> SFTConfig:
    arguments = trainer_arguments(
        SFTConfig,
        settings,
        checkpoints,
        seed=settings.seed,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=micro_batches // count_processes(settings.launch),
        use_cpu=not torch.cuda.is_available(),  # else processes on CPUs do not find each other
        weight_decay=settings.weight_decay,
        bf16=False,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    if splits_model(settings.launch):
        shard(arguments)
    return arguments
