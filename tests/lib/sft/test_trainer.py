"""The trainer, on a tiny model."""

import io
import shutil
import signal
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import DistributedType
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from stages.lib.core.schema import Example
from stages.lib.mixing.rules import Frontier
from stages.lib.params.strategies import FrontierArm
from stages.lib.params.training import Launch
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft import trainer
from stages.lib.sft.batches import TrainingPlan
from stages.lib.sft.loss import weighted_loss
from stages.lib.sft.online import OnlinePlan
from stages.lib.sft.trainer import train
from stages.lib.training import attention, varlen
from tests.arms import FRONTIER
from tests.conftest import tiny_model
from tests.fake_gpus import count_gpus
from tests.interrupted import TerminatingBar
from tests.lib.sft.test_batches import NINE, planned, settings
from tests.lib.sft.test_online import plan_of
from tests.lib.training.test_varlen import per_example


class Beginnings(TrainerCallback):
    """Notes after which step each training that it watches begins: 0 if it resumes nothing."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps.append(state.global_step)


@dataclass(frozen=True)
class Trained:
    """The log, the parameters and the checkpoints of a training."""

    log: list[dict[str, Any]]
    params: list[torch.Tensor]
    checkpoints: Path

    def copy_checkpoints(self, folder: Path, *incomplete: int) -> Path:
        """Copy the checkpoints, as after a kill while those of some steps were being written."""
        shutil.copytree(self.checkpoints, folder)
        for step in incomplete:
            (folder / f"checkpoint-{step}" / "complete").unlink()
            assert (folder / f"checkpoint-{step}" / "optimizer.pt").exists()
        return folder


def assert_same(run: Trained, expected: Trained) -> None:
    assert run.log == expected.log
    assert same_params(run.params, expected.params)


def same_params(params: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(param, other) for param, other in zip(params, expected, strict=True))


def trained(
    tokenizer: PreTrainedTokenizerFast,
    checkpoints: Path,
    *,
    examples: Sequence[Example] = NINE,
    bar: type[tqdm] = tqdm,
    validation_examples: Sequence[TokenizedExample] = (),
    callbacks: Sequence[TrainerCallback] = (),
    base: Any = None,
    **changes: Any,
) -> Trained:
    chosen = settings(learning_rate=1e-2, **changes)
    model = tiny_model(tokenizer).bfloat16()
    plan = planned(examples, tokenizer, chosen)
    with bar(total=6, file=io.StringIO()) as progress:
        output = train(
            model,
            tokenizer,
            plan,
            chosen,
            checkpoints,
            progress,
            validation_examples,
            callbacks,
            base,
        )
    params = [param.detach().clone() for param in model.parameters()]
    return Trained(output.log, params, checkpoints)


def test_the_loss_falls_and_every_step_is_logged(whole_run: Trained) -> None:
    assert [row["step"] for row in whole_run.log] == [1, 2, 3, 4, 5, 6]
    assert whole_run.log[-1]["loss"] < whole_run.log[0]["loss"] - 0.5


@pytest.mark.parametrize(
    "factor",
    [
        {"factor": "focal", "factor_power": 2.0, "factor_unit": "example", "factor_shuffled": True},
        {"factor": "likelihood", "factor_power": 0.05, "factor_unit": "example"},
        {"factor": "likelihood", "anchor": 0.01},
        {"factor": "base_likelihood"},
    ],
    ids=["focal control", "anti-focal", "asft", "prift"],
)
def test_an_arm_with_a_loss_factor_trains_otherwise_and_a_killed_run_ends_the_same(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, whole_run: Trained, factor: dict[str, Any]
) -> None:
    examples = [replace(source, **factor) for source in NINE]
    base = tiny_model(tokenizer).bfloat16()
    before = [param.detach().clone() for param in base.parameters()]
    options: dict[str, Any] = {"examples": examples, "base": base, "save_every": 2}
    run = trained(tokenizer, tmp_path / "whole", **options)
    assert not same_params(run.params, whole_run.params)
    if factor["factor"] == "focal":
        assert run.log[-1]["loss"] < run.log[0]["loss"] - 0.5
    # The base model stays as it is.
    assert same_params(list(base.parameters()), before)
    killed = run.copy_checkpoints(tmp_path / "killed", 4)
    assert_same(trained(tokenizer, killed, **options), run)


def test_a_model_that_takes_no_token_count_and_recomputed_activations_learn_the_same(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole_run: Trained,
) -> None:
    monkeypatch.setattr(Qwen2ForCausalLM, "accepts_loss_kwargs", False, raising=False)
    assert_same(trained(tokenizer, tmp_path, gradient_checkpointing=True), whole_run)


def test_the_path_of_a_gpu_learns_the_same(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole_run: Trained,
) -> None:
    devices: list[torch.device] = []
    bounds: list[int] = []

    def choose(_: Any, device: torch.device) -> str:
        devices.append(device)
        return varlen.NAME

    def kernel(*arguments: Any, **options: Any) -> torch.Tensor:
        bounds.append(len(arguments[3]) - 1)
        return per_example(*arguments, **options)

    def fused_loss(*arguments: Any, fused: bool) -> torch.Tensor:
        assert not fused  # on a CPU
        return weighted_loss(*arguments, fused=True)

    monkeypatch.setattr(attention, "choose_attention", choose)
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setattr(trainer, "weighted_loss", fused_loss)
    run = trained(tokenizer, tmp_path, gradient_checkpointing=True)
    assert devices == [torch.device("cpu")]
    assert max(bounds) > 1
    ours, expected = ([row["loss"] for row in log] for log in (run.log, whole_run.log))
    # In bf16 the two paths round differently.
    assert ours == pytest.approx(expected, rel=2e-2)
    assert ours != expected


def test_one_process_trains_where_several_gpus_are_visible(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_gpus(**options: Any) -> SFTConfig:
        changed: dict[str, Any] = options | {"use_cpu": False}
        return SFTConfig(**changed)

    count_gpus(monkeypatch, 2)
    monkeypatch.setattr(trainer, "SFTConfig", with_gpus)
    assert len(trained(tokenizer, tmp_path, steps=1).log) == 1


@pytest.mark.parametrize(("incomplete", "resumed_at"), [((4,), 2), ((2, 4), 0)])
def test_a_killed_run_ends_as_if_it_had_not_been_from_its_last_complete_checkpoint(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    whole_run: Trained,
    incomplete: tuple[int, ...],
    resumed_at: int,
) -> None:
    folder = whole_run.copy_checkpoints(tmp_path / "killed", *incomplete)
    beginnings = Beginnings()
    assert_same(trained(tokenizer, folder, callbacks=[beginnings], save_every=2), whole_run)
    assert beginnings.steps == [resumed_at]


def test_sigterm_saves_a_checkpoint_and_the_next_run_ends_as_if_there_had_been_none(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, whole_run: Trained
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InterruptedError, match="SIGTERM after step 3; a checkpoint"):
        trained(tokenizer, tmp_path, bar=TerminatingBar, save_every=5)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "checkpoint-3" / "complete").exists()
    beginnings = Beginnings()
    assert_same(trained(tokenizer, tmp_path, callbacks=[beginnings], save_every=5), whole_run)
    assert beginnings.steps == [3]


def trained_online(
    tokenizer: PreTrainedTokenizerFast, checkpoints: Path, bar: type[tqdm] = tqdm
) -> tuple[Trained, OnlinePlan]:
    rule = Frontier(
        2, FrontierArm.model_validate(FRONTIER | {"half_life": 2.0, "warmup_examples": 2})
    )
    plan = plan_of(tokenizer, rule, per_cell=20, steps=8, tokens_per_step=40, n_cells=2)
    chosen = settings(learning_rate=1e-2, steps=8, save_every=3)
    model = tiny_model(tokenizer).bfloat16()
    with bar(total=8, file=io.StringIO()) as progress:
        output = train(model, tokenizer, plan, chosen, checkpoints, progress)
    params = [param.detach().clone() for param in model.parameters()]
    return Trained(output.log, params, checkpoints), plan


def test_an_online_run_that_is_stopped_ends_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    whole, plan = trained_online(tokenizer, tmp_path / "whole")
    assert any(np.ptp(segment.weights) > 0 for segment in plan.segments)
    with pytest.raises(InterruptedError, match="after step 3"):
        trained_online(tokenizer, tmp_path / "stopped", TerminatingBar)
    # The second time from the checkpoint at step 6, when weights were no longer equal.
    for _ in range(2):
        resumed, resumed_plan = trained_online(tokenizer, tmp_path / "stopped")
        assert_same(resumed, whole)
        assert resumed_plan.micro_batches == plan.micro_batches


class BrokenPlan(TrainingPlan):
    """A plan in which a micro-batch of the third step has weights that are not numbers."""

    def row(self, index: int) -> dict[str, list[Any]]:
        row = super().row(index)
        if index == 5:
            row["weights"] = [weight * float("nan") for weight in row["weights"]]
        return row


def test_a_loss_that_is_not_a_number_names_its_step_and_problems(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    plan = planned(NINE, tokenizer, settings())
    broken = BrokenPlan(**vars(plan))
    with (
        tqdm(disable=True) as progress,
        pytest.raises(ValueError, match="step 3: loss nan") as error,
    ):
        model = tiny_model(tokenizer).bfloat16()
        train(model, tokenizer, broken, settings(), tmp_path, progress)
    message = str(error.value)
    assert "\n" not in message
    assert set(message.partition("problems ")[2].split(", ")) == set(plan.problem_ids(2))


@pytest.mark.parametrize(
    ("strategy", "processes", "distributed_type", "message"),
    [
        ("ddp", 2, DistributedType.MULTI_CPU, None),
        ("fsdp2", 2, DistributedType.FSDP, None),
        ("ddp", 1, DistributedType.NO, r"train\.launch: 2 processes by ddp: 1 train together"),
        # As accelerate has it where there are no GPUs.
        ("fsdp2", 2, DistributedType.MULTI_CPU, "'fsdp2': expected 'ddp' where there are no GPUs"),
    ],
)
def test_processes_that_do_not_share_the_work_as_asked_are_an_error(
    strategy: Any, processes: int, distributed_type: DistributedType, message: str | None
) -> None:
    accelerator: Any = SimpleNamespace(num_processes=processes, distributed_type=distributed_type)
    launched = settings(launch=Launch(strategy=strategy, processes=2))
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        trainer._check_launch(accelerator, launched)  # noqa: SLF001
