"""A short training on random examples, by the trainer of the ``train`` stage."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedModel, TrainerCallback

from benchmarks.gpu.common import any_tokenizer, train_settings
from stages.lib.provenance.catalog import Shape
from stages.lib.sft.batches import TrainingPlan, plan_training
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.sft.trainer import train


@dataclass(frozen=True)
class Run:
    """The tokens of a step, prompts included, the loss of each step, and the plan."""

    tokens_per_step: float
    losses: list[float]
    plan: TrainingPlan


def run_training(
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
    tokens = sum(data.lengths[i] for batch in plan.micro_batches for i in batch)
    return Run(tokens / steps, [row["loss"] for row in output.log], plan)


def flops_per_token(shape: Shape, context: int) -> float:
    """Return the model FLOPs of forward and backward for a token of an example.

    They are 6 for each weight of a linear layer and of the output layer (Kaplan et al. 2020) and
    6 for each value of the queries and each of the ``context`` / 2 tokens that it sees on average
    (Chowdhery et al. 2022, PaLM, appendix B, halved for causal attention). Recomputed activations
    do not count.
    """
    weights = shape.linear_parameters() + shape.vocabulary * shape.hidden
    attention = shape.layers * shape.heads * shape.head_dim * context
    return 6.0 * (weights + attention)
