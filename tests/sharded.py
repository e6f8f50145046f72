"""The train stage with FSDP on CPUs, where accelerate ignores that it was asked for.

accelerate launch --config_file conf/accelerate/fsdp2.yaml -m tests.sharded ARM

The arm is trained as ``tests.interrupted`` does.

Accelerate shards on GPUs alone (``AcceleratorState.__init__``); PyTorch does on CPUs too. Models
compute in bf16, as on GPUs. Each process writes to ``sharding-rank{N}.json`` which models it read,
what it held after each micro-batch, and the parts of the checkpoints at the stop.
"""

import os
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from stages import train
from stages.lib.core.files import write_json
from stages.lib.core.paths import CHECKPOINTS
from stages.lib.models import loading
from stages.lib.runtime import console
from stages.lib.sft.trainer import PlannedTrainer
from stages.lib.training import adapters
from tests.interrupted import mark_checkpoints, stop_resume_and_repeat

_init = AcceleratorState.__init__
_step = PlannedTrainer.training_step
_facts: dict[str, Any] = {"read": [], "micro_batches": [], "checkpoints": []}


def _on_cpus_as_well(self: AcceleratorState, *arguments: Any, **options: Any) -> None:
    _init(self, *arguments, **options)
    if self.distributed_type == DistributedType.MULTI_CPU and "ACCELERATE_USE_FSDP" in os.environ:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = options["fsdp_plugin"]
        PartialState._shared_state["distributed_type"] = self.distributed_type


def _noting_what_is_read(folder: Path, *arguments: Any, **options: Any) -> Any:
    _facts["read"].append(folder.name)
    return loading.load_model(folder, *arguments, **options)


def _noting_what_is_held(self: PlannedTrainer, model: torch.nn.Module, *rest: Any) -> torch.Tensor:
    loss = _step(self, model, *rest)
    optimizer: Any = self.optimizer
    params = [param for param in model.parameters() if param.requires_grad]
    grads = [param.grad for param in params]
    groups = [
        group
        for module in model.modules()
        if isinstance(module, FSDPModule)
        for group in module._get_fsdp_state()._fsdp_param_groups  # noqa: SLF001
    ]
    _facts["micro_batches"].append(
        {
            "split": all(isinstance(tensor, DTensor) for tensor in [*params, *grads]),
            "types": sorted({str(tensor.dtype) for tensor in [*params, *grads]}),
            "frozen": sorted({str(p.dtype) for p in model.parameters() if not p.requires_grad}),
            "computed_in": sorted({str(group.mp_policy.param_dtype) for group in groups}),
            "reduced_in": sorted({str(group.mp_policy.reduce_dtype) for group in groups}),
            "whole_gradients": sum(
                param.unsharded_accumulated_grad is not None
                for group in groups
                for param in group.fsdp_params
            ),
            "optimizer": type(optimizer.optimizer).__name__,
        }
    )
    return loss


def _noting_the_parts_of_checkpoints(arm: str) -> None:
    for checkpoint in CHECKPOINTS.glob(f"{arm}/*/checkpoint-*"):
        for part in ("pytorch_model_fsdp_0", "optimizer_0"):
            _facts["checkpoints"].append(sorted(p.name for p in (checkpoint / part).iterdir()))
    mark_checkpoints(arm)


def main(arm: str) -> None:
    """Train an arm three times and write the facts."""
    stop_resume_and_repeat(train.main, arm, _noting_the_parts_of_checkpoints)
    write_json(Path(f"sharding-rank{console.rank()}.json"), _facts)


if __name__ == "__main__":
    torch.cpu._is_avx512_supported = lambda: True
    AcceleratorState.__init__ = _on_cpus_as_well
    PlannedTrainer.training_step = _noting_what_is_held
    adapters.load_model = _noting_what_is_read
    console.run_stage("train", main, item="arm")
