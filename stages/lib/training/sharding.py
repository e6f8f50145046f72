"""FSDP2: each process keeps a part of every weight, its gradient and its optimizer state.

The parts are 32-bit numbers, so AdamW needs no other copies of the weights. Layers are gathered,
and compute, in the model's own format; gradients are summed over processes and micro-batches in
32 bits (Zhao et al. 2023, PyTorch FSDP, section 4.4). ``conf/accelerate/fsdp2.yaml`` has what
accelerate can be told in a file.
"""

from typing import Any, cast

import torch
from accelerate import Accelerator
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import TrainingArguments

from stages.lib.models.precision import compute_dtype

Weights = dict[str, torch.Tensor]


def shard(arguments: TrainingArguments) -> None:
    """Let a trainer split its model with FSDP2, which must be loaded by ``load_trainable``."""
    arguments.fsdp_plugin_args = {
        # Accelerate's own policy sums gradients in bf16.
        "mixed_precision_policy": MixedPrecisionPolicy(
            param_dtype=compute_dtype(), reduce_dtype=torch.float32
        ),
        # The first process sends the others their parts. Not by the file: transformers would
        # then fill a whole model with zeros in every other process.
        "cpu_ram_efficient_loading": True,
    }
    # Else every process keeps whole gradients, in 32 bits, until the last micro-batch of a step.
    config: Any = arguments.accelerator_config
    config.gradient_accumulation_kwargs = {"sync_each_batch": True}


def gather_weights(accelerator: Accelerator, model: Any) -> Weights | None:
    """Return the whole weights, in 32 bits on the CPU, in the first process; none in the others.

    One weight after the other is whole on the GPUs. Every process must call this.
    """
    weights = cast(Weights, accelerator.get_state_dict(model))
    return weights if accelerator.is_main_process else None
