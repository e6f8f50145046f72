"""A short training on random examples, by the trainer of the ``train`` stage."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedModel, TrainerCallback

from benchmarks.gpu.common import any_tokenizer, train_settings
from stages.lib.costs.flops import training_flops
from stages.lib.provenance.catalog import Shape
from stages.lib.sft.batches import TrainingPlan, plan_training
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.sft.trainer import train


@dataclass(frozen=True)
class Run:
    """The tokens and model FLOPs of a step, prompts included, the losses, and the plan."""

    tokens_per_step: float
    flops_per_step: float
    losses: list[float]
    plan: TrainingPlan


def run_training(
    shape: Shape,
    model: PreTrainedModel,
    data: TokenizedExamples,
    *callbacks: TrainerCallback,
    steps: int,
    row_tokens: int,
    rows: int,
    checkpoints: Path | None = None,
    **changes: Any,
) -> Run:
    """Train on about ``rows`` rows of ``row_tokens`` a step; ``changes`` are of ``train``."""
    share = sum(data.supervised) / sum(data.lengths)
    settings = train_settings(
        steps=steps,
        row_tokens=row_tokens,
        # A little less than the rows could hold, so that one more is not needed.
        tokens_per_step=int(0.95 * rows * row_tokens * share),
        max_length=data.max_length,
        warmup_steps=0,
        schedule="constant_with_warmup",
        **{"save_every": steps, **changes},
    )
    plan = plan_training(data, settings)
    with TemporaryDirectory() as folder, tqdm(total=steps, disable=True) as progress:
        output = train(
            model,
            any_tokenizer(),
            plan,
            settings,
            checkpoints or Path(folder),
            progress,
            callbacks=callbacks,
        )
    lengths = [data.lengths[i] for batch in plan.micro_batches for i in batch]
    flops = training_flops(
        shape,
        tokens=sum(lengths) / steps,
        supervised=settings.tokens_per_step,
        # The mean length of the example that a token is in.
        context=sum(length**2 for length in lengths) / sum(lengths),
    )
    return Run(sum(lengths) / steps, flops, [row["loss"] for row in output.log], plan)
