"""GRPO on a tiny model."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, TrainerCallback

from stages.lib.grpo import policy
from stages.lib.grpo.log import rows_by_step
from stages.lib.grpo.logprobs import log_probabilities
from stages.lib.grpo.rewards import load_rewards
from stages.lib.grpo.rollouts import RolloutLog
from stages.lib.grpo.schedule import PromptSchedule
from stages.lib.grpo.trainer import train
from stages.lib.params.grpo import Grpo, GrpoModel
from stages.lib.params.training import FullTuning, Tuning
from stages.lib.prompts.templates import question_prompt
from stages.lib.training.adapters import load_policy
from tests.fake_gpus import count_gpus
from tests.interrupted import TerminatingBar
from tests.lib.grpo.test_rewards import problem
from tests.lib.sft.test_batches import CHAT
from tests.lib.sft.test_trainer import Beginnings, same_params
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
    "max_resamples": 0,
    "logged_answers": 5,
    "rewards": {"answer": 1.0, "format": 0.2},
    "beta": 0.02,
    "epsilon": 0.2,
    "epsilon_high": None,
    "loss_type": "grpo",
    "scale_rewards": "group",
    "mask_truncated": False,
    "learning_rate": 5e-3,
    "schedule": "constant_with_warmup",
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "save_every": 2,
    "gradient_checkpointing": False,
    "launch": None,
    "gpu_memory_share": 0.3,
    "tracking": [],
}
FULL, LORA = FullTuning(method="full", optimizer="adamw"), adapters(dropout=0.0)
PROBLEMS = [replace(problem(str(number)), id=f"p{number}") for number in range(4)]


class Run(NamedTuple):
    """The log by step, the parameters that were trained, and what was sampled."""

    log: list[dict[str, Any]]
    params: list[torch.Tensor]
    rollouts: RolloutLog

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Return the completions that the run writes."""
        self.rollouts.write(folder / "rollouts.jsonl")
        return [json.loads(line) for line in (folder / "rollouts.jsonl").open(encoding="utf-8")]


def train_grpo(
    tokenizer: PreTrainedTokenizerFast,
    base: Path,
    folder: Path,
    *,
    tuning: Tuning = FULL,
    bar: type[tqdm] = tqdm,
    callbacks: Sequence[TrainerCallback] = (),
    **changes: Any,
) -> Run:
    settings = Grpo(**(SETTINGS | changes))
    spec = GrpoModel(parent="base", seed=3, tuning=tuning, zero_variance_weight=0.0)
    model = load_policy(base, spec.tuning, seed=spec.seed)
    rounds = settings.steps // settings.iterations
    indices = np.arange(rounds * settings.prompts_per_step) % len(PROBLEMS)
    prompts = [question_prompt(tokenizer, CHAT, f"{number}?") for number in range(len(PROBLEMS))]
    planned = indices.reshape(rounds, -1)
    candidates = [[i for i in range(len(PROBLEMS)) if i not in chosen] * 2 for chosen in planned]
    schedule = PromptSchedule(PROBLEMS, prompts, planned, candidates, [])
    rewards = load_rewards(settings.rewards)
    with bar(total=settings.steps, file=io.StringIO()) as progress:
        history, rollouts = train(
            model, tokenizer, schedule, rewards, settings, spec, folder, progress, callbacks
        )
    trained = [param.detach().clone() for param in model.parameters() if param.requires_grad]
    return Run(rows_by_step(history, list(settings.rewards)), trained, rollouts)


def mean_difference(run: Run, other: Run) -> float:
    """Return the mean absolute difference of parameters; a step of Adam is the learning rate."""
    pairs = zip(run.params, other.params, strict=True)
    return float(torch.cat([(one - two).abs().flatten() for one, two in pairs]).mean())


def test_the_reward_rises(tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path) -> None:
    log = train_grpo(
        tokenizer,
        terse,
        tmp_path,
        steps=16,
        prompts_per_step=4,
        generations=8,
        max_tokens=2,
        learning_rate=2e-2,
        save_every=16,
    ).log
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
    run = train_grpo(tokenizer, terse, tmp_path, **options)
    assert any(row["groups_without_signal"] < 1 for row in run.log[:2])
    assert [row["step"] for row in run.log] == [1, 2, 3, 4]
    # The last step leaves no checkpoint, so the same folder is that of a run killed after step 2.
    resumed = train_grpo(tokenizer, terse, tmp_path, **options)
    assert beginnings.steps == [0, 2]
    assert resumed.log == run.log
    assert same_params(resumed.params, run.params)
    assert resumed.rows(tmp_path) == run.rows(tmp_path)
    assert resumed.rollouts.rounds == run.rollouts.rounds
    assert len(run.rollouts.rounds) == 4 // iterations


def test_groups_without_signal_are_replaced_and_a_killed_run_ends_the_same(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    # Two answers to a problem often have the same reward.
    options: dict[str, Any] = {"prompts_per_step": 2, "generations": 2, "logged_answers": 99}
    plain = train_grpo(tokenizer, terse, tmp_path / "plain", **options)
    options["max_resamples"] = 3
    run = train_grpo(tokenizer, terse, tmp_path / "run", **options)
    replaced = [sampled.replaced for sampled in run.rollouts.rounds]
    assert sum(replaced) > 0
    assert [row["replaced_groups"] for row in run.log] == replaced
    lacking = [sum(row["groups_without_signal"] for row in one.log) for one in (run, plain)]
    assert lacking[0] < lacking[1]
    for sampled, row in zip(run.rollouts.rounds, run.log, strict=True):
        assert sampled.completions == 2 * (2 + sampled.replaced)
        assert row["generated_tokens"] == sampled.tokens > 4 * row["answer_tokens"] - 1
    # Rewards and advantages are those of the problems that replaced others.
    rows = run.rows(tmp_path)
    by_problem = [rows[start]["problem_id"] for start in range(0, len(rows), 2)]
    trained = [index for sampled in run.rollouts.rounds for index in sampled.problems]
    assert by_problem == [PROBLEMS[index].id for index in trained]
    assert trained != [0, 1, 2, 3] * 2
    resumed = train_grpo(tokenizer, terse, tmp_path / "run", **options)
    assert resumed.log == run.log
    assert same_params(resumed.params, run.params)
    assert resumed.rows(tmp_path) == rows


def test_rows_of_completions_say_what_was_rewarded(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    run = train_grpo(tokenizer, terse, tmp_path, steps=2, logged_answers=8)
    rows = run.rows(tmp_path)
    assert [row["step"] for row in rows] == [1] * 8 + [2] * 8
    assert [row["sample"] for row in rows[:8]] == [0, 1, 2, 3] * 2
    for row, step in zip((rows[:8], rows[8:]), run.log, strict=True):
        assert np.mean([one["reward"] for one in row]) == pytest.approx(step["reward"])
        assert np.mean([one["tokens"] for one in row]) == pytest.approx(step["answer_tokens"])
        assert np.mean([not one["ended"] for one in row]) == pytest.approx(step["cut"])
    for start in range(0, 16, 4):
        group = rows[start : start + 4]
        rewards = np.array([row["reward"] for row in group])
        expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4)
        np.testing.assert_allclose([row["advantage"] for row in group], expected, atol=1e-4)
        for row in group:
            scores = row["rewards"]
            assert row["reward"] == pytest.approx(scores["answer"] + 0.2 * scores["format"])
    assert len(train_grpo(tokenizer, terse, tmp_path / "0", logged_answers=0).rows(tmp_path)) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "dapo"},
        {"loss_type": "dr_grpo"},
        {"scale_rewards": "batch"},
        {"scale_rewards": "none"},
        {"mask_truncated": True},
        {"mask_truncated": True, "max_tokens": 1},
        {"iterations": 2, "epsilon": 0.001},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_each_choice_of_the_loss_trains_otherwise(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shared = {key: changes[key] for key in ("iterations", "max_tokens") if key in changes}
    options: dict[str, Any] = {"steps": 2, "micro_batches": 2} | shared
    default = train_grpo(tokenizer, terse, tmp_path / "default", **options)
    run = train_grpo(tokenizer, terse, tmp_path / "run", **options | changes)
    assert all(math.isfinite(row["loss"]) for row in run.log)
    assert run.log[0]["reward"] == default.log[0]["reward"]
    assert not same_params(run.params, default.params)


def test_token_level_loss_weighs_answers_by_their_tokens(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    """At ratios of 1 the loss is minus the advantages' mean: over answers, or over tokens."""
    for loss_type, level in (("grpo", None), ("dapo", "tokens")):
        run = train_grpo(
            *(tokenizer, terse, tmp_path / loss_type),
            **{"steps": 1, "beta": 0.0, "loss_type": loss_type, "logged_answers": 8},
        )
        rows = run.rows(tmp_path)
        weights = [1 if level is None else row[level] for row in rows]
        expected = -np.average([row["advantage"] for row in rows], weights=weights)
        assert run.log[0]["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_higher_upper_bound_clips_less(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"iterations": 2, "learning_rate": 2e-2, "epsilon": 0.05}
    shares = [
        train_grpo(tokenizer, terse, tmp_path / str(high), **options, epsilon_high=high).log[1]
        for high in (None, 0.05, 5.0)
    ]
    assert shares[0] == shares[1]
    assert 0 < shares[2]["clipped"] < shares[0]["clipped"]


@pytest.mark.parametrize("tuning", [FULL, LORA], ids=["full", "lora"])
def test_without_a_weight_the_divergence_costs_no_forward_pass(
    tokenizer: PreTrainedTokenizerFast,
    terse: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tuning: Tuning,
) -> None:
    calls: list[int] = []

    def counted(*arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(1)
        return log_probabilities(*arguments, **options)

    monkeypatch.setattr(policy, "log_probabilities", counted)
    run = train_grpo(tokenizer, terse, tmp_path, tuning=tuning, beta=0.0, steps=2)
    assert len(calls) == 2
    assert [row["kl"] for row in run.log] == [None, None]


def test_recomputed_activations_learn_the_same(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"steps": 1, "learning_rate": 1e-2}
    whole = train_grpo(tokenizer, terse, tmp_path / "whole", **options)
    options["gradient_checkpointing"] = True
    recomputed = train_grpo(tokenizer, terse, tmp_path / "recomputed", **options)
    assert recomputed.log[0]["reward"] == whole.log[0]["reward"]
    assert mean_difference(recomputed, whole) < 1e-3


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
    count_gpus(monkeypatch, 2)
    assert len(train_grpo(tokenizer, terse, tmp_path, steps=1).log) == 1


def test_micro_batches_do_not_change_a_step(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"steps": 1, "save_every": 1, "learning_rate": 1e-2}
    whole = train_grpo(tokenizer, terse, tmp_path / "1", **options)
    split = train_grpo(tokenizer, terse, tmp_path / "4", micro_batches=4, **options)
    assert mean_difference(split, whole) < 1e-3


def test_a_loss_that_is_not_a_number_names_its_step_and_problems(
    tokenizer: PreTrainedTokenizerFast, terse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []

    def broken_later(*arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # Each step scores with the parent and the policy.
        calls.append(1.0 if len(calls) < 2 else math.nan)
        logprobs, entropy = log_probabilities(*arguments, **options)
        return logprobs * calls[-1], entropy

    monkeypatch.setattr(policy, "log_probabilities", broken_later)
    with pytest.raises(ValueError, match=r"step 2: loss nan: .* problems p2, p3$") as error:
        train_grpo(tokenizer, terse, tmp_path)
    assert "\n" not in str(error.value)


def test_a_step_on_the_answers_of_the_step_before_has_no_rewards() -> None:
    history = [
        {"step": 1, "loss": 0.0, "learning_rate": 0.1, "reward": 0.4, "kl": 0.0},
        {"step": 2, "loss": 0.1, "learning_rate": 0.1, "kl": 0.2},
        {"step": 2, "train_runtime": 3.0},
    ]
    rows = rows_by_step(history, ["answer"])
    assert [(row["step"], row["reward"], row["kl"]) for row in rows] == [
        (1, 0.4, 0.0),
        (2, None, 0.2),
    ]
    assert list(rows[0])[:2] == ["step", "reward"]
    assert list(rows[0])[-2:] == ["loss", "learning_rate"]
