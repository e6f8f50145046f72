"""GRPO on a tiny model."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, TrainerCallback

from stages.lib.grpo import trainer
from stages.lib.grpo.logprobs import log_probabilities
from stages.lib.grpo.schedule import PromptSchedule
from stages.lib.grpo.trainer import reward_functions, rows_by_step, train
from stages.lib.params.grpo import Grpo, GrpoModel, Rewards
from stages.lib.params.training import FullTuning, Tuning
from stages.lib.prompts.templates import question_prompt
from stages.lib.training.adapters import load_trainable
from tests.lib.grpo.test_rewards import problem
from tests.lib.sft.test_batches import CHAT
from tests.lib.sft.test_trainer import Beginnings, TerminatingBar, same_params
from tests.lib.training.test_adapters import adapters

SETTINGS: dict[str, Any] = {
    "models": {},
    "steps": 4,
    "prompts_per_step": 2,
    "generations": 4,
    "iterations": 1,
    "micro_batches": 1,
    "max_tokens": 6,
    "temperature": 1.0,
    "rewards": Rewards(answer=1.0, format=0.2),
    "beta": 0.02,
    "epsilon": 0.2,
    "learning_rate": 5e-3,
    "schedule": "constant_with_warmup",
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "save_every": 2,
    "gpu_memory_share": 0.3,
    "tracking": [],
}
FULL, LORA = FullTuning(method="full", optimizer="adamw"), adapters(dropout=0.0)
PROBLEMS = [problem(str(number)) for number in range(4)]


def train_grpo(
    tokenizer: PreTrainedTokenizerFast,
    base: Path,
    folder: Path,
    *,
    tuning: Tuning = FULL,
    bar: type[tqdm] = tqdm,
    callbacks: Sequence[TrainerCallback] = (),
    **changes: Any,
) -> tuple[list[dict[str, Any]], list[torch.Tensor]]:
    """Return the log, and the parameters that were trained."""
    settings = Grpo(**(SETTINGS | changes))
    spec = GrpoModel(parent="base", seed=3, tuning=tuning, zero_variance_weight=0.0)
    model = load_trainable(base, spec.tuning, seed=spec.seed)
    rounds = settings.steps // settings.iterations
    indices = np.arange(rounds * settings.prompts_per_step) % len(PROBLEMS)
    prompts = [question_prompt(tokenizer, CHAT, f"{number}?") for number in range(len(PROBLEMS))]
    schedule = PromptSchedule(PROBLEMS, prompts, indices.reshape(rounds, -1), [])
    with bar(total=settings.steps, file=io.StringIO()) as progress:
        log = train(model, tokenizer, schedule, settings, spec, folder, progress, callbacks)
    trained = [param.detach().clone() for param in model.parameters() if param.requires_grad]
    return log, trained


def test_the_reward_rises(tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path) -> None:
    log, _ = train_grpo(
        tokenizer,
        terse,
        tmp_path,
        steps=16,
        prompts_per_step=4,
        generations=8,
        max_tokens=2,
        learning_rate=2e-2,
        save_every=16,
    )
    rewards = [row["format_reward"] for row in log]
    # Half of it is for ending the turn, which chance does in 0.44 of two tokens.
    assert np.mean(rewards[:3]) < 0.35
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.1
    assert log[0]["reward"] == pytest.approx(0.2 * rewards[0])
    assert log[-1]["kl"] > 0.01 > log[0]["kl"] >= 0
    assert log[-1]["answer_tokens"] < log[0]["answer_tokens"]


@pytest.mark.parametrize(
    ("tuning", "iterations"),
    [(FULL, 2), (LORA, 1), (adapters(method="qlora", dropout=0.0), 1)],
    ids=["two-steps-a-round", "lora", "qlora"],
)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path, tuning: Tuning, iterations: int
) -> None:
    beginnings = Beginnings()
    options: dict[str, Any] = {
        "tuning": tuning,
        "iterations": iterations,
        "callbacks": [beginnings],
    }
    log, params = train_grpo(tokenizer, terse, tmp_path, **options)
    assert any(row["groups_without_signal"] < 1 for row in log[:2])
    assert [row["step"] for row in log] == [1, 2, 3, 4]
    # The last step leaves no checkpoint, so the same folder is that of a run killed after step 2.
    resumed_log, resumed = train_grpo(tokenizer, terse, tmp_path, **options)
    assert beginnings.steps == [0, 2]
    assert resumed_log == log
    assert same_params(resumed, params)


def test_sigterm_saves_a_checkpoint_between_rounds(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"steps": 6, "iterations": 2, "save_every": 6}
    with pytest.raises(InterruptedError, match="SIGTERM after step 4; a checkpoint"):
        # The signal comes in the third step, the first of two on the same answers.
        train_grpo(tokenizer, terse, tmp_path, bar=TerminatingBar, **options)
    assert (tmp_path / "checkpoint-4" / "complete").exists()


def test_one_process_trains_where_several_gpus_are_visible(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert len(train_grpo(tokenizer, terse, tmp_path, steps=1)[0]) == 1


def test_micro_batches_do_not_change_a_step(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"steps": 1, "save_every": 1, "learning_rate": 1e-2}
    _, whole = train_grpo(tokenizer, terse, tmp_path / "1", **options)
    _, split = train_grpo(tokenizer, terse, tmp_path / "4", micro_batches=4, **options)
    for param, other in zip(split, whole, strict=True):
        torch.testing.assert_close(param, other, rtol=0, atol=0.02)


def test_a_loss_that_is_not_a_number_names_its_step_and_problems(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []

    def broken_later(*arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # Each step scores with the parent and the policy.
        calls.append(1.0 if len(calls) < 2 else math.nan)
        logprobs, entropy = log_probabilities(*arguments, **options)
        return logprobs * calls[-1], entropy

    monkeypatch.setattr(trainer, "log_probabilities", broken_later)
    with pytest.raises(ValueError, match=r"step 2: loss nan: .* problems p$") as error:
        train_grpo(tokenizer, terse, tmp_path)
    assert "\n" not in str(error.value)


def test_rewards_are_of_the_sampled_problem() -> None:
    schedule = PromptSchedule(
        [problem("5"), problem("6")], [], np.zeros((1, 1), dtype=np.int64), ["STOP"]
    )
    answer, form = reward_functions(schedule, {7})
    texts = ["The answer is 6.", "The answer is 6.", "The answer is 5. STOP The answer is 6."]
    assert answer(completions=texts, problem_index=[0, 1, 0]) == [0.0, 1.0, 1.0]
    assert form(completions=texts, completion_ids=[[1, 7], [7, 1], [7]]) == [1.0, 0.5, 1.0]


def test_a_step_on_the_answers_of_the_step_before_has_no_rewards() -> None:
    history = [
        {"step": 1, "loss": 0.0, "learning_rate": 0.1, "reward": 0.4, "kl": 0.0},
        {"step": 2, "loss": 0.1, "learning_rate": 0.1, "kl": 0.2},
        {"step": 2, "train_runtime": 3.0},
    ]
    rows = rows_by_step(history)
    assert [(row["step"], row["reward"], row["kl"]) for row in rows] == [
        (1, 0.4, 0.0),
        (2, None, 0.2),
    ]
    assert list(rows[0])[:2] == ["step", "reward"]
    assert list(rows[0])[-2:] == ["loss", "learning_rate"]
