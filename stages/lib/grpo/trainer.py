"""Reinforcement learning on verifiable rewards: GRPO on TRL's trainer, as planned.

A round asks the problems of ``stages.lib.grpo.schedule``, each several times. An answer's
advantage is its reward minus the mean of the answers to the same problem, over their
standard deviation; the loss is the clipped one of GRPO (Shao et al. 2024, DeepSeekMath)
with the divergence from the parent. Prompts are exactly the tokens of training and
evaluation. vLLM answers on a GPU, transformers on a CPU, where ``stages.lib.grpo.logprobs``
also scores the answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from numpy.typing import NDArray
from peft import PeftModel
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from stages.lib.core.schema import Problem
from stages.lib.generations.requests import truncate_at_stop
from stages.lib.grpo.logprobs import log_probabilities
from stages.lib.grpo.rewards import answer_reward, format_reward
from stages.lib.params.grpo import Grpo, GrpoModel
from stages.lib.runtime.devices import use_one_gpu
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.adapters import Trainable, unwrap, upcast_adapters
from stages.lib.training.attention import can_attend_per_example
from stages.lib.training.callbacks import Progress, Termination
from stages.lib.training.checkpoints import latest_complete
from stages.lib.training.optim import optimizer_of

# A column of the log, and what TRL calls it.
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


@dataclass(frozen=True)
class Questions:
    """Problems with their prompts, and the places of those that each round asks.

    ``rounds`` has the shape (rounds, problems of a round); ``stops`` are the texts that
    end an answer beside the end-of-turn token.
    """

    problems: Sequence[Problem]
    prompts: Sequence[tuple[int, ...]]
    rounds: NDArray[Any]
    stops: Sequence[str]


class RoundTrainer(GRPOTrainer):
    """TRL's trainer on prompts that are tokens already, with scoring that suits a CPU."""

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
        scored = unwrap(cast(Trainable, self.accelerator.unwrap_model(model)))
        if self.aux_loss_enabled or not can_attend_per_example(scored):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **options
            )
        size = batch_size or len(input_ids)
        parts = [
            log_probabilities(scored, ids, mask, logits_to_keep, temperature=self.temperature)
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        said, spread = (torch.cat(values) for values in zip(*parts, strict=True))
        return said, spread, None


def fit(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    questions: Questions,
    settings: Grpo,
    made: GrpoModel,
    checkpoints: Path,
    shown: "tqdm[Any]",
    watching: Sequence[TrainerCallback] = (),
) -> list[dict[str, Any]]:
    """Grpo a model in place, from the last whole checkpoint if there is one.

    Returns the rows of ``rows_by_step``. On a GPU a resumed run gets other answers than
    one that went through, as vLLM's random state is not saved. Raises ValueError for a
    loss that is not a number, and InterruptedError after a SIGTERM, when a checkpoint has
    been saved.
    """
    keep_freed_memory()
    termination = Termination(every=settings.iterations)
    asked = _problems_by_step(questions, settings.iterations)
    kind, options = optimizer_of(made.tuning, deepspeed=False)
    trained = [param for param in model.parameters() if param.requires_grad]
    options = {"lr": settings.learning_rate, "weight_decay": 0.0} | options
    trainer = RoundTrainer(
        model=cast(Any, model),
        reward_funcs=cast(Any, reward_functions(questions, end_tokens(unwrap(model), tokenizer))),
        args=_arguments(settings, made, questions, checkpoints),
        train_dataset=_dataset(questions),
        processing_class=tokenizer,
        callbacks=[Progress(shown, asked, "reward"), termination, *watching],
        optimizers=(cast(Any, kind)(trained, **options), None),
    )
    if isinstance(model, PeftModel):
        # A copy of the new adapters, which a resumed run would be loaded from instead of
        # them. Without it the parent is the model without adapters, as it should be.
        model.delete_adapter("ref")
    upcast_adapters(model)
    with termination.awaited():
        trainer.train(resume_from_checkpoint=latest_complete(checkpoints))
    return rows_by_step(trainer.state.log_history)


def reward_functions(questions: Questions, ends: set[int]) -> list[Callable[..., list[float]]]:
    """Return the rewards as TRL asks for them: for being right, and for the form."""

    def answer(completions: Sequence[str], place: Sequence[int], **_: Any) -> list[float]:
        return [
            answer_reward(questions.problems[at], truncate_at_stop(text, questions.stops))
            for at, text in zip(place, completions, strict=True)
        ]

    def form(
        completions: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any
    ) -> list[float]:
        return [
            format_reward(truncate_at_stop(text, questions.stops), ended=ids[-1] in ends)
            for text, ids in zip(completions, completion_ids, strict=True)
        ]

    return [answer, form]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens that end a turn: the tokenizer's, and those that the model declares."""
    declared = model.generation_config.eos_token_id  # type: ignore[union-attr]
    more = declared if isinstance(declared, list) else [declared]
    return {token for token in [tokenizer.eos_token_id, *more] if token is not None}


def rows_by_step(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per step: ``step``, ``COLUMNS``, ``loss`` and ``learning_rate``.

    Rewards are means over the round's answers, weighted in ``reward`` alone; ``truncate_at_stop`` is
    the share of answers that ended at the limit. A step on the answers of the step before
    has no rewards. ``kl`` (to the parent) and ``entropy`` are in nats per token.
    """
    return [
        {"step": entry["step"]}
        | {ours: entry.get(theirs) for ours, theirs in COLUMNS.items()}
        | {"loss": entry["loss"], "learning_rate": entry["learning_rate"]}
        for entry in history
        if "loss" in entry
    ]


def _dataset(questions: Questions) -> Dataset:
    return Dataset.from_list(
        [
            {"prompt": list(questions.prompts[place]), "place": place}
            for place in questions.rounds.ravel().tolist()
        ]
    )


def _problems_by_step(questions: Questions, iterations: int) -> list[list[str]]:
    return [
        [questions.problems[place].id for place in asked]
        for asked in questions.rounds.tolist()
        for _ in range(iterations)
    ]


def _arguments(
    settings: Grpo, made: GrpoModel, questions: Questions, checkpoints: Path
) -> GRPOConfig:
    answers = settings.prompts_per_step * settings.generations
    longest = max(map(len, questions.prompts))
    arguments = GRPOConfig(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=answers // settings.micro_batches,
        gradient_accumulation_steps=settings.micro_batches,
        num_generations=settings.generations,
        num_iterations=settings.iterations,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        shuffle_dataset=False,
        use_vllm=torch.cuda.is_available(),
        vllm_mode="colocate",
        vllm_max_model_length=longest + settings.max_tokens,
        vllm_gpu_memory_utilization=settings.gpu_memory_share,
        reward_weights=[settings.rewards.answer, settings.rewards.format],
        loss_type="grpo",
        scale_rewards="group",
        beta=settings.beta,
        epsilon=settings.epsilon,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        max_grad_norm=settings.max_grad_norm,
        save_steps=settings.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=made.seed,
        bf16=False,
        use_cache=True,  # the trainer would turn it off, for answers as well
        gradient_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
    )
    use_one_gpu(arguments)
    return arguments
