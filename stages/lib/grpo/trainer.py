"""Reinforcement learning on verifiable rewards: GRPO on TRL's trainer, with planned rounds.

A round samples each of its problems (``stages.lib.grpo.schedule``) several times. A
completion's advantage is its reward minus the mean of the problem's completions, divided by
their standard deviation; the loss is the clipped one of GRPO (Shao et al. 2024, DeepSeekMath)
with the KL divergence from the parent. Parameters turn these into the choices of DAPO
(arXiv:2503.14476) and Dr. GRPO (arXiv:2503.20783). Prompts are exactly the tokens of training
and evaluation. Completions come from vLLM on a GPU and from transformers on a CPU, where
``stages.lib.grpo.logprobs`` also scores them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig

from stages.lib.grpo.policy import ScheduledTrainer
from stages.lib.grpo.rewards import RewardFunction
from stages.lib.grpo.rollouts import RolloutLog
from stages.lib.grpo.schedule import PromptSchedule
from stages.lib.grpo.scoring import Scorer, end_tokens
from stages.lib.params.grpo import Grpo, GrpoModel
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.adapters import Trainable, unwrap, upcast_adapters
from stages.lib.training.arguments import trainer_arguments
from stages.lib.training.callbacks import Progress, Termination
from stages.lib.training.checkpoints import latest_complete
from stages.lib.training.distributed import count_processes
from stages.lib.training.optim import optimizer_of


def train(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    schedule: PromptSchedule,
    rewards: Sequence[RewardFunction],
    settings: Grpo,
    spec: GrpoModel,
    checkpoints: Path,
    progress: "tqdm[Any]",
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[list[dict[str, Any]], RolloutLog]:
    """Train a model in place, from the last complete checkpoint if there is one.

    Returns the log of the steps, as ``stages.lib.grpo.log.rows_by_step`` reads it, and what the
    rounds sampled. On a GPU a resumed run may sample other completions than an uninterrupted
    one. Raises ValueError for a loss that is not finite, and InterruptedError after a SIGTERM,
    when a checkpoint has been saved.
    """
    keep_freed_memory()
    rollouts = RolloutLog(settings.logged_answers)
    termination = Termination(every=settings.iterations)

    def problem_ids(step: int) -> list[str]:
        sampled = rollouts.rounds[step // settings.iterations]
        return [schedule.problems[index].id for index in sampled.problems]

    # The log first: a checkpoint is marked as complete when the rollouts are in it.
    own = [rollouts, Progress(progress, problem_ids, "reward"), termination]
    trainer = ScheduledTrainer(
        schedule,
        _scorer(model, tokenizer, schedule, rewards),
        rollouts,
        max_resamples=settings.max_resamples,
        model=cast(Any, model),
        args=_arguments(settings, spec, schedule, rewards, checkpoints),
        train_dataset=_rows(schedule),
        processing_class=tokenizer,
        callbacks=[*own, *callbacks],
        optimizers=(_optimizer(model, settings, spec), None),
    )
    _check_launch(trainer.accelerator.num_processes, settings)
    _keep_new_adapters_only(model)
    checkpoint = latest_complete(checkpoints)
    if checkpoint is not None:
        rollouts.restore(Path(checkpoint))
    with termination.handle_sigterm():
        trainer.train(resume_from_checkpoint=checkpoint)
    return trainer.state.log_history, rollouts


def _scorer(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    schedule: PromptSchedule,
    rewards: Sequence[RewardFunction],
) -> Scorer:
    end_ids = end_tokens(unwrap(model), tokenizer)
    return Scorer(schedule.problems, rewards, tokenizer, end_ids, schedule.stop)


def _rows(schedule: PromptSchedule) -> Dataset:
    return Dataset.from_list(
        [
            {"prompt": list(schedule.prompts[index]), "problem_index": index}
            for index in schedule.rounds.ravel().tolist()
        ]
    )


def _optimizer(model: Trainable, settings: Grpo, spec: GrpoModel) -> torch.optim.Optimizer:
    optimizer, options = optimizer_of(spec.tuning, seed=spec.seed)
    options = {"lr": settings.learning_rate, "weight_decay": 0.0} | options
    trained = [param for param in model.parameters() if param.requires_grad]
    return cast(Any, optimizer)(trained, **options)


def _keep_new_adapters_only(model: Trainable) -> None:
    if isinstance(model, PeftModel) and "ref" in model.peft_config:
        # TRL's copy of the new adapters, which a resumed run would load instead of them.
        # Without it the parent is the model without adapters, as it should be.
        model.delete_adapter("ref")
    upcast_adapters(model)


def _check_launch(processes: int, settings: Grpo) -> None:
    """Check that the processes found each other: accelerate says nothing if they did not."""
    expected = count_processes(settings.launch)
    if processes != expected:
        raise ValueError(f"grpo.launch: {expected} processes: {processes} train together")


def _arguments(
    settings: Grpo,
    spec: GrpoModel,
    schedule: PromptSchedule,
    rewards: Sequence[RewardFunction],
    checkpoints: Path,
) -> GRPOConfig:
    completions = settings.prompts_per_step * settings.generations
    longest_prompt = max(map(len, schedule.prompts))
    has_gpu = torch.cuda.is_available()
    return trainer_arguments(
        GRPOConfig,
        settings,
        checkpoints,
        seed=spec.seed,
        per_device_train_batch_size=completions // settings.micro_batches,
        gradient_accumulation_steps=settings.micro_batches // count_processes(settings.launch),
        # Else processes on CPUs do not find each other.
        use_cpu=settings.launch is not None and not has_gpu,
        ddp_find_unused_parameters=False,
        num_generations=settings.generations,
        num_iterations=settings.iterations,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        shuffle_dataset=False,
        use_vllm=has_gpu,
        vllm_mode="colocate",
        vllm_max_model_length=longest_prompt + settings.max_tokens,
        vllm_gpu_memory_utilization=settings.gpu_memory_share,
        reward_weights=[reward.weight for reward in rewards],
        loss_type=settings.loss_type,
        scale_rewards=settings.scale_rewards,
        mask_truncated_completions=settings.mask_truncated,
        beta=settings.beta,
        epsilon=settings.epsilon,
        epsilon_high=settings.epsilon_high,
        bf16=False,
        use_cache=True,  # the trainer would turn it off, for generation as well
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
