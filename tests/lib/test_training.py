"""The optimizer and the trainer, on a tiny model."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from stages.lib.packing import plan
from stages.lib.training import MasterAdamW, fit
from tests.conftest import tiny_model
from tests.lib.test_packing import CHAT, example, settings


def steps_of(optimizer: torch.optim.Optimizer, param: torch.Tensor, count: int) -> None:
    for number in range(count):
        param.grad = torch.full_like(param, 0.1 * (number + 1))
        optimizer.step()


def test_on_32_bit_parameters_it_is_adamw() -> None:
    ours = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    theirs = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    steps_of(MasterAdamW([ours], lr=0.01, weight_decay=0.1), ours, 5)
    steps_of(torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1), theirs, 5)
    torch.testing.assert_close(ours, theirs)


def test_steps_too_small_for_bf16_add_up() -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    steps_of(MasterAdamW([param], lr=1e-3, weight_decay=0.0), param, 20)
    # Adam moves by about lr a step; one such step is below bf16's resolution at 1.
    torch.testing.assert_close(param.float(), torch.full((3,), 0.98), rtol=0, atol=4e-3)


def test_a_saved_state_is_loaded_without_rounding() -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    first = MasterAdamW([param], lr=1e-3)
    steps_of(first, param, 3)
    second = MasterAdamW([param], lr=1e-3)
    second.load_state_dict(first.state_dict())
    for name, value in first.state[param].items():
        assert second.state[param][name].dtype == torch.float32
        assert torch.equal(second.state[param][name], value)


def trained(
    tokenizer: PreTrainedTokenizerFast, folder: Path, **changes: Any
) -> tuple[list[dict[str, float]], list[torch.Tensor]]:
    chosen = settings(learning_rate=1e-2, **changes)
    model = tiny_model(tokenizer).bfloat16()
    rows = plan([example(number) for number in range(9)], tokenizer, CHAT, chosen)
    with tqdm(disable=True) as progress:
        log = fit(model, tokenizer, rows, chosen, folder, progress)
    return log, [param.detach().clone() for param in model.parameters()]


def test_the_loss_falls_and_every_step_is_logged(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, _ = trained(tokenizer, tmp_path)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < log[0]["loss"] - 0.5


@pytest.mark.parametrize("dealt", [False, True], ids=["focal", "control"])
def test_a_focal_arm_learns(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, dealt: bool
) -> None:
    chosen = settings(learning_rate=1e-2)
    focal = [
        replace(example(number), focal_gamma=2.0, focal_level="example", focal_dealt=dealt)
        for number in range(9)
    ]
    rows = plan(focal, tokenizer, CHAT, chosen)
    with tqdm(disable=True) as progress:
        log = fit(tiny_model(tokenizer).bfloat16(), tokenizer, rows, chosen, tmp_path, progress)
    assert log[-1]["loss"] < log[0]["loss"] - 0.5


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, params = trained(tokenizer, tmp_path / "whole", save_every=2)
    trained(tokenizer, tmp_path / "killed", save_every=2)
    # As after a kill while the second checkpoint was being written.
    (tmp_path / "killed" / "checkpoint-4" / "complete").unlink()
    resumed_log, resumed = trained(tokenizer, tmp_path / "killed", save_every=2)
    assert resumed_log == log
    assert all(torch.equal(one, other) for one, other in zip(params, resumed, strict=True))


def test_a_half_written_checkpoint_is_not_used(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, _ = trained(tokenizer, tmp_path)
    for checkpoint in tmp_path.glob("checkpoint-*"):
        (checkpoint / "complete").unlink()
        shutil.rmtree(checkpoint / "optimizer.pt", ignore_errors=True)
    assert trained(tokenizer, tmp_path)[0] == log


def test_a_loss_that_is_not_a_number_names_its_step(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chosen = settings()
    model = tiny_model(tokenizer).bfloat16()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    rows = plan([example(number) for number in range(9)], tokenizer, CHAT, chosen)
    with tqdm(disable=True) as progress, pytest.raises(ValueError, match="step 1: loss nan"):
        fit(model, tokenizer, rows, chosen, tmp_path, progress)
