"""Reinforcement learning on verifiable rewards: GRPO on TRL's trainer, with planned rounds.

A round samples each of its problems (``stages.lib.grpo.schedule``) several times. A
completion's advantage is its reward minus the mean of the problem's completions, divided by
their standard deviation; the loss is the clipped one of GRPO (Shao et al. 2024, DeepSeekMath)
with the KL divergence from the parent. Prompts are exactly the tokens of training and
evaluation. Completions come from vLLM on a GPU and from transformers on a CPU, where
``stages.lib.grpo.logprobs`` also scores them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from stages.lib.generations.requests import truncate_at_stop
from stages.lib.grpo.logprobs import log_probabilities
from stages.lib.grpo.rewards import answer_reward, format_reward
from stages.lib.grpo.schedule import PromptSchedule
from stages.lib.params.grpo import Grpo, GrpoModel
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.adapters import Trainable, unwrap, upcast_adapters
from stages.lib.training.arguments import trainer_arguments
from stages.lib.training.attention import can_attend_per_example
from stages.lib.training.callbacks import Progress, Termination
from stages.lib.training.checkpoints import latest_complete
from stages.lib.training.optim import optimizer_of

# The columns of the log, and TRL's names for them.
COLUMNS = {
    "reward": "reward",
    "answer_reward": "rewards/answer/mean",
    "format_reward": "rewards/form/mean",
    "kl": "kl",
    "answer_tokens": "completions/mean_length",
    "cut": "completions/clipped_ratio",
    "groups_without_signal": "frac_reward_zero_std",
    "entropy": "entropy",
}


class ScheduledTrainer(GRPOTrainer):
    """TRL's trainer on prompts that are tokens already, with faster scoring on a CPU."""

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[Any], None, dict[str, Any]]:
        return prompts, None, {}

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        policy = unwrap(cast(Trainable, self.accelerator.unwrap_model(model)))
        if self.aux_loss_enabled or not can_attend_per_example(policy):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **options
            )
        size = batch_size or len(input_ids)
        parts = [
            log_probabilities(policy, ids, mask, logits_to_keep, temperature=self.temperature)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logprobs, entropy = (torch.cat(values) for values in zip(*parts, strict=True))
        return logprobs, entropy, None


def train(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    schedule: PromptSchedule,
    settings: Grpo,
    spec: GrpoModel,
    checkpoints: Path,
    progress: "tqdm[Any]",
    callbacks: Sequence[TrainerCallback] = (),
) -> list[dict[str, Any]]:
    """Train a model in place, from the last complete checkpoint if there is one.

    Returns the rows of ``rows_by_step``. On a GPU a resumed run samples other completions than
    an uninterrupted one, as vLLM's random state is not saved. Raises ValueError for a loss
    that is not finite, and InterruptedError after a SIGTERM, when a checkpoint has been saved.
    """
    keep_freed_memory()
    termination = Termination(every=settings.iterations)

    def problem_ids(step: int) -> list[str]:
        return [schedule.problems[i].id for i in schedule.rounds[step // settings.iterations]]

    optimizer, options = optimizer_of(spec.tuning, seed=spec.seed)
    options = {"lr": settings.learning_rate, "weight_decay": 0.0} | options
    trained = [param for param in model.parameters() if param.requires_grad]
    rows = [
        {"prompt": list(schedule.prompts[index]), "problem_index": index}
        for index in schedule.rounds.ravel().tolist()
    ]
    rewards = reward_functions(schedule, end_tokens(unwrap(model), tokenizer))
    trainer = ScheduledTrainer(
        model=cast(Any, model),
        reward_funcs=cast(Any, rewards),
        args=_arguments(settings, spec, schedule, checkpoints),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[Progress(progress, problem_ids, "reward"), termination, *callbacks],
        optimizers=(cast(Any, optimizer)(trained, **options), None),
    )
    if isinstance(model, PeftModel):
        # TRL's copy of the new adapters, which a resumed run would load instead of them.
        # Without it the parent is the model without adapters, as it should be.
        model.delete_adapter("ref")
    upcast_adapters(model)
    with termination.handle_sigterm():
        trainer.train(resume_from_checkpoint=latest_complete(checkpoints))
    return rows_by_step(trainer.state.log_history)


def reward_functions(
    schedule: PromptSchedule, end_ids: set[int]
) -> list[Callable[..., list[float]]]:
    """Return the rewards for the answer and the format, with the signature that TRL expects.

    TRL logs them under the names of the functions.
    """

    def answer(completions: Sequence[str], problem_index: Sequence[int], **_: Any) -> list[float]:
        return [
            answer_reward(schedule.problems[index], truncate_at_stop(text, schedule.stop))
            for index, text in zip(problem_index, completions, strict=True)
        ]

    def form(
        completions: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any
    ) -> list[float]:
        return [
            format_reward(truncate_at_stop(text, schedule.stop), ended=ids[-1] in end_ids)
            for text, ids in zip(completions, completion_ids, strict=True)
        ]

    return [answer, form]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids that end a turn: the tokenizer's, and those that the model declares."""
    declared = model.generation_config.eos_token_id  # type: ignore[union-attr]
    declared = declared if isinstance(declared, list) else [declared]
    return {token for token in [tokenizer.eos_token_id, *declared] if token is not None}


def rows_by_step(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per step: ``step``, ``COLUMNS``, ``loss`` and ``learning_rate``.

    Rewards are means over the round's completions, weighted in ``reward`` alone; ``cut`` is the
    share of completions that reached the length limit. A step that reuses the completions of the
    step before has no rewards. ``kl`` (to the parent) and ``entropy`` are in nats per token.
    """
    return [
        {"step": entry["step"]}
        | {column: entry.get(name) for column, name in COLUMNS.items()}
        | {"loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for entry in history
        if "loss" in entry
    ]


def _arguments(
    settings: Grpo, spec: GrpoModel, schedule: PromptSchedule, checkpoints: Path
) -> GRPOConfig:
    completions = settings.prompts_per_step * settings.generations
    longest_prompt = max(map(len, schedule.prompts))
    return trainer_arguments(
        GRPOConfig,
        settings,
        checkpoints,
        seed=spec.seed,
        per_device_train_batch_size=completions // settings.micro_batches,
        gradient_accumulation_steps=settings.micro_batches,
        num_generations=settings.generations,
        num_iterations=settings.iterations,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        shuffle_dataset=False,
        use_vllm=torch.cuda.is_available(),
        vllm_mode="colocate",
        vllm_max_model_length=longest_prompt + settings.max_tokens,
        vllm_gpu_memory_utilization=settings.gpu_memory_share,
        reward_weights=[settings.rewards.answer, settings.rewards.format],
        loss_type="grpo",
        scale_rewards="group",
        beta=settings.beta,
        epsilon=settings.epsilon,
        bf16=False,
        use_cache=True,  # the trainer would turn it off, for generation as well
        gradient_checkpointing=False,
    )
