"""The trainer, on a tiny model."""

import io
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft import trainer
from stages.lib.sft.trainer import train
from tests.conftest import tiny_model
from tests.lib.sft.test_batches import example, planned, settings


class Beginnings(TrainerCallback):
    """Notes after which step each training that it watches begins: 0 if it resumes nothing."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps.append(state.global_step)


def trained(
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    bar: type[tqdm] = tqdm,
    held_out: Sequence[TokenizedExample] = (),
    watching: Sequence[TrainerCallback] = (),
    **changes: Any,
) -> tuple[list[dict[str, float]], list[torch.Tensor]]:
    chosen = settings(learning_rate=1e-2, **changes)
    model = tiny_model(tokenizer).bfloat16()
    rows = planned([example(number) for number in range(9)], tokenizer, chosen)
    with bar(total=6, file=io.StringIO()) as progress:
        fitted = train(model, tokenizer, rows, chosen, folder, progress, held_out, watching)
    return fitted.log, [param.detach().clone() for param in model.parameters()]


def test_the_loss_falls_and_every_step_is_logged(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, _ = trained(tokenizer, tmp_path)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < log[0]["loss"] - 0.5


def test_a_model_that_takes_no_count_of_tokens_learns_the_same(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, params = trained(tokenizer, tmp_path / "usual", steps=2)
    monkeypatch.setattr(Qwen2ForCausalLM, "accepts_loss_kwargs", False, raising=False)
    same_log, same = trained(tokenizer, tmp_path / "other", steps=2)
    assert same_log == log
    assert all(torch.equal(one, other) for one, other in zip(params, same, strict=True))


def test_one_process_trains_where_several_gpus_are_visible(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where_there_are_gpus(**options: Any) -> SFTConfig:
        changed: dict[str, Any] = options | {"use_cpu": False}
        return SFTConfig(**changed)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(trainer, "SFTConfig", where_there_are_gpus)
    assert len(trained(tokenizer, tmp_path)[0]) == 6


@pytest.mark.parametrize("dealt", [False, True], ids=["focal", "control"])
def test_a_focal_arm_learns(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, dealt: bool
) -> None:
    chosen = settings(learning_rate=1e-2)
    focal = [
        replace(example(number), focal_gamma=2.0, focal_level="example", focal_shuffled=dealt)
        for number in range(9)
    ]
    rows = planned(focal, tokenizer, chosen)
    with tqdm(disable=True) as progress:
        model = tiny_model(tokenizer).bfloat16()
        log = train(model, tokenizer, rows, chosen, tmp_path, progress).log
    assert log[-1]["loss"] < log[0]["loss"] - 0.5


def test_activations_that_are_computed_again_are_the_same(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    kept, params = trained(tokenizer, tmp_path / "kept")
    again, others = trained(tokenizer, tmp_path / "again", gradient_checkpointing=True)
    assert again == kept
    assert all(torch.equal(one, other) for one, other in zip(params, others, strict=True))


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, params = trained(tokenizer, tmp_path / "whole", save_every=2)
    trained(tokenizer, tmp_path / "killed", save_every=2)
    # As after a kill while the second checkpoint was being written.
    (tmp_path / "killed" / "checkpoint-4" / "complete").unlink()
    begun = Beginnings()
    resumed_log, resumed = trained(tokenizer, tmp_path / "killed", watching=[begun], save_every=2)
    assert begun.steps == [2]
    assert resumed_log == log
    assert all(torch.equal(one, other) for one, other in zip(params, resumed, strict=True))


def test_a_half_written_checkpoint_is_not_used(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    begun = Beginnings()
    log, _ = trained(tokenizer, tmp_path, watching=[begun])
    (tmp_path / "checkpoint-3" / "complete").unlink()
    assert (tmp_path / "checkpoint-3" / "optimizer.pt").exists()
    assert trained(tokenizer, tmp_path, watching=[begun])[0] == log
    assert begun.steps == [0, 0]


def test_a_loss_that_is_not_a_number_names_its_step_and_problems(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    chosen = settings()
    model = tiny_model(tokenizer).bfloat16()
    rows = planned([example(number) for number in range(9)], tokenizer, chosen)
    # An example of the third step gets a weight that is not a number.
    rows[5]["weights"] = [weight * float("nan") for weight in rows[5]["weights"]]
    with (
        tqdm(disable=True) as progress,
        pytest.raises(ValueError, match="step 3: loss nan") as error,
    ):
        train(model, tokenizer, rows, chosen, tmp_path, progress)
    said = str(error.value)
    assert "\n" not in said
    named = set(said.partition("problems ")[2].split(", "))
    assert named == {*rows[4]["problems"], *rows[5]["problems"]}


class TerminatingBar(tqdm):
    """Sends SIGTERM to this process in the third step."""

    def update(self, n: float | None = 1) -> bool | None:
        shown = super().update(n)
        if self.n == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return shown


def test_sigterm_saves_a_checkpoint_and_the_next_run_ends_as_if_there_had_been_none(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log, params = trained(tokenizer, tmp_path / "whole", save_every=5)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InterruptedError, match="SIGTERM after step 3; a checkpoint"):
        trained(tokenizer, tmp_path / "stopped", bar=TerminatingBar, save_every=5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "stopped" / "checkpoint-3" / "complete").exists()
    begun = Beginnings()
    resumed_log, resumed = trained(tokenizer, tmp_path / "stopped", watching=[begun], save_every=5)
    assert begun.steps == [3]
    assert resumed_log == log
    assert all(torch.equal(one, other) for one, other in zip(params, resumed, strict=True))
