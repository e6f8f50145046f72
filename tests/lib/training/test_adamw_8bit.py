"""AdamW with 8-bit moments and stochastic rounding."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torchao.optim.subclass_8bit import OptimState8bit
from transformers import PreTrainedTokenizerFast

from stages.lib.params.training import FullTuning
from stages.lib.training.adamw_8bit import SeededAdamW8bit
from tests.lib.sft.test_trainer import assert_same, trained
from tests.lib.training.test_optim import steps_of

TUNING = FullTuning(method="full", optimizer="adamw_8bit")


def bf16_ones(count: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(count, dtype=torch.bfloat16))


def adamw_8bit(param: torch.nn.Parameter, seed: int = 1, lr: float = 1e-3) -> SeededAdamW8bit:
    return SeededAdamW8bit([param], lr=lr, seed=seed)


def test_steps_too_small_for_bf16_add_up_on_average() -> None:
    lr = 2**-12  # a sixteenth of what lies between 1 and the bf16 number below it
    stochastic, nearest = bf16_ones(2**16), bf16_ones(2**16)
    steps_of(adamw_8bit(stochastic, lr=lr), stochastic, 20)
    steps_of(torch.optim.AdamW([nearest], lr=lr, weight_decay=0.0), nearest, 20)
    exact = torch.nn.Parameter(torch.ones(1))
    steps_of(torch.optim.AdamW([exact], lr=lr, weight_decay=0.0), exact, 20)
    assert torch.equal(nearest, torch.ones_like(nearest))
    moved, expected = (1 - float(param.detach().mean()) for param in (stochastic.float(), exact))
    # The mean of as many roundings by 1/256 has a standard error below 1e-5.
    assert moved == pytest.approx(expected, abs=1e-4)
    assert expected > 40e-4
    # Each step rounds with other numbers, else 15 of 16 weights would never move.
    unmoved = float((stochastic == 1).float().mean())
    assert unmoved == pytest.approx((15 / 16) ** 20, abs=0.05)


def test_large_states_have_8_bits_and_small_ones_32() -> None:
    large, small = bf16_ones(2**12), bf16_ones(2**12 - 1)
    optimizer = SeededAdamW8bit([large, small], lr=1e-3, seed=1)
    large.grad, small.grad = torch.ones_like(large), torch.ones_like(small)
    optimizer.step()
    for name in ("exp_avg", "exp_avg_sq"):
        state = optimizer.state[large][name]
        assert isinstance(state, OptimState8bit)
        assert state.codes.nbytes + state.scale.nbytes == 2**12 * (1 + 4 / 256)
        assert optimizer.state[small][name].dtype == torch.float32


def saved(optimizer: SeededAdamW8bit) -> dict[str, Any]:
    """Return the optimizer's state through a file that holds nothing but tensors."""
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("count", [7, 2**12])
def test_a_resumed_optimizer_continues_as_if_nothing_had_happened(count: int) -> None:
    whole, resumed = bf16_ones(count), bf16_ones(count)
    before = torch.get_rng_state()
    steps_of(adamw_8bit(whole), whole, 6)
    steps_of(first := adamw_8bit(resumed), resumed, 3)
    assert torch.equal(torch.get_rng_state(), before)
    second = adamw_8bit(resumed)
    second.load_state_dict(saved(first))
    torch.manual_seed(5)  # of no effect
    for number in range(3, 6):
        resumed.grad = torch.full_like(resumed, 0.1 * (number + 1))
        second.step()
    assert torch.equal(whole, resumed)
    other = bf16_ones(count)
    steps_of(adamw_8bit(other, seed=2), other, 6)
    assert not torch.equal(whole, other)


def test_a_tiny_model_learns_and_a_killed_run_ends_the_same(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"tuning": TUNING, "save_every": 2}
    run = trained(tokenizer, tmp_path / "whole", **options)
    assert run.log[-1]["loss"] < run.log[0]["loss"] - 0.5
    killed = run.copy_checkpoints(tmp_path / "killed", 4)
    assert_same(trained(tokenizer, killed, **options), run)
