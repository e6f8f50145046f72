"""The train stage with FSDP or DeepSpeed on CPUs, where accelerate takes neither.

accelerate launch --config_file conf/accelerate/fsdp2.yaml -m tests.sharded ARM
"""

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from stages import train
from stages.lib.runtime import console

_init = AcceleratorState.__init__


def _on_cpus_as_well(self: AcceleratorState, *arguments: Any, **options: Any) -> None:
    _init(self, *arguments, **options)
    if self.distributed_type == DistributedType.MULTI_CPU and "ACCELERATE_USE_FSDP" in os.environ:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = options["fsdp_plugin"]
        PartialState._shared_state["distributed_type"] = self.distributed_type


if __name__ == "__main__":
    AcceleratorState.__init__ = _on_cpus_as_well
    console.run_stage("train", train.main, item="arm")
