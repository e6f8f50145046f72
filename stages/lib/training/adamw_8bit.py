"""AdamW on bf16 weights alone, for models whose 32-bit copies do not fit on the GPU.

The moments are kept in 8 bits, each block of 256 with a scale (Dettmers et al. 2022,
arXiv:2110.02861). A step below the resolution of a bf16 weight would be lost by rounding to the
nearest; rounded up or down at random, with the probabilities that make the mean exact, steps add
up on average. The optimizer is torchao's; a weight then takes 6 bytes with its gradient and
moments, where ``MasterAdamW`` takes 16.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torchao.optim import AdamW8bit
from torchao.optim.subclass_8bit import OptimState8bit

from stages.lib.training.optim import load_unrounded


class SeededAdamW8bit(AdamW8bit):
    """AdamW with 8-bit moments and stochastic rounding that depends on the seed and step alone.

    So a resumed run continues exactly, and processes that share a step round alike. Weights must
    be bf16 to be rounded so; others are updated as they are.
    """

    def __init__(self, params: Any, *, lr: float, seed: int, weight_decay: float = 0.0) -> None:
        """Take the parameters or groups of them, as any optimizer does."""
        super().__init__(params, lr=lr, weight_decay=weight_decay, bf16_stochastic_round=True)
        self.seed = seed

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Update the weights; the state of the random generators is left as it was."""
        params = [param for group in self.param_groups for param in group["params"]]
        gpus = {param.device for param in params if param.is_cuda}
        # Compiled, a step needs no copies of a weight in 32 bits; on a CPU, whose models are
        # small, compiling would take longer than the training.
        stance = nullcontext() if gpus else torch.compiler.set_stance("force_eager")
        with torch.random.fork_rng(devices=gpus), stance:
            torch.manual_seed(self._rounding_seed())
            super().step(closure)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state without rounding it to the parameters' type, as the base class does."""
        super().load_state_dict(state_dict)
        load_unrounded(self, state_dict)
        # Where a new optimizer has its scalars: their products are rounded otherwise on a GPU.
        for scalars, name in [(self.param_groups, "lr"), (self.state.values(), "step")]:
            for scalar in scalars:
                scalar[name] = scalar[name].cpu()

    def _new_buffer(self, p: torch.Tensor, signed: bool) -> torch.Tensor:
        # What is too small for blocks would be bf16, where a second moment cannot change: its
        # steps are 1/1000 of it.
        buffer = super()._new_buffer(p, signed)
        return buffer if isinstance(buffer, OptimState8bit) else buffer.float()

    def _rounding_seed(self) -> int:
        # Every weight has a gradient in every step, so one counts for all.
        state = next(iter(self.state.values()), {"step": 0})
        return int(np.random.SeedSequence((self.seed, int(state["step"]))).generate_state(1)[0])
