"""The GRPO stage with vLLM in its process, as on a GPU, where there is none.

python -m tests.colocated MODEL
"""

import os
from typing import Any

from trl.trainer.grpo_config import GRPOConfig

from stages import grpo
from stages.lib.grpo import trainer
from stages.lib.runtime import console


def with_vllm(**options: Any) -> GRPOConfig:
    """Return the arguments of TRL's trainer with vLLM."""
    changed: dict[str, Any] = options | {"use_vllm": True}
    return GRPOConfig(**changed)


if __name__ == "__main__":
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    trainer.GRPOConfig = with_vllm  # type: ignore[misc,assignment]
    console.run_stage("grpo", grpo.main, item="name")
