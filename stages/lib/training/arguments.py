"""The arguments that the trainers of SFT and GRPO share."""

from pathlib import Path
from typing import Any, TypeVar

from transformers import TrainingArguments

from stages.lib.params.grpo import Grpo
from stages.lib.params.training import Train
from stages.lib.runtime.devices import use_one_gpu

Config = TypeVar("Config", bound=TrainingArguments)


def trainer_arguments(
    config: type[Config], settings: Train | Grpo, checkpoints: Path, **options: Any
) -> Config:
    """Build the arguments of one of TRL's trainers, ``options`` beside those that are shared.

    Every step is logged, checkpoints are kept in ``checkpoints``, and transformers' own bars
    and trackers are off.
    """
    arguments = config(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        max_grad_norm=settings.max_grad_norm,
        save_steps=settings.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        **options,
    )
    use_one_gpu(arguments)
    return arguments
