"""The optimizers: AdamW on 32-bit numbers, or with 8-bit states."""

from typing import Any, cast

import torch
from torch.optim import AdamW, Optimizer
from torch.optim.adamw import adamw

from stages.lib.params.training import FullTuning, Tuning


def optimizer_of(
    tuning: Tuning, *, seed: int, sharded: bool = False
) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return the optimizer's class and its options other than the learning rate.

    ``seed`` is that of stochastic rounding. Adapters, and all weights of a model that is
    ``sharded``, are 32-bit numbers, so AdamW needs no copies of them.
    """
    if tuning.optimizer == "adamw_8bit":
        # Imported here because it takes seconds.
        from stages.lib.training.adamw_8bit import SeededAdamW8bit

        return SeededAdamW8bit, {"seed": seed}
    if isinstance(tuning, FullTuning) and not sharded:
        return MasterAdamW, {}
    if tuning.optimizer == "adamw":
        return AdamW, {"fused": True}
    # Imported here because it takes seconds. A GPU can page its states out to the host's
    # memory; on a CPU they are plain 8-bit states.
    from bitsandbytes.optim.adamw import PagedAdamW8bit

    return PagedAdamW8bit, {}


class MasterAdamW(AdamW):
    """AdamW on 32-bit copies of the parameters.

    A bf16 weight has 8 bits of mantissa: steps below 1/256 of it would be lost. The
    copies live in the optimizer's state, so a resumed run continues exactly.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the 32-bit copies and round them into the parameters.

        One parameter after the other: its numbers are still in the caches when they are rounded.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, group)

    def _update(self, param: torch.Tensor, group: dict[str, Any]) -> None:
        state = self._state_of(param)
        adamw(
            [state["master"]],
            [cast(torch.Tensor, param.grad).float()],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        param.copy_(state["master"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state without rounding it to the parameters' type, as the base class does."""
        super().load_state_dict(state_dict)
        load_unrounded(self, state_dict)

    def _state_of(self, param: torch.Tensor) -> dict[str, torch.Tensor]:
        state = self.state[param]
        if not state:
            master = param.detach().to(torch.float32, copy=True)
            state["master"] = master
            state["exp_avg"] = torch.zeros_like(master)
            state["exp_avg_sq"] = torch.zeros_like(master)
            state["step"] = torch.zeros((), dtype=torch.float32, device=param.device)
        return state


def load_unrounded(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Replace an optimizer's state by a saved one, in the types that it was saved in."""
    saved = [key for group in state_dict["param_groups"] for key in group["params"]]
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for key, param in zip(saved, params, strict=True):
        if key in state_dict["state"]:
            state = state_dict["state"][key]
            optimizer.state[param] = {name: value.to(param.device) for name, value in state.items()}
