"""TRL's GRPO trainer on planned prompts: it resamples, scores packed rows and logs rollouts."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

import torch
from accelerate.utils import gather_object, set_seed
from peft import PeftModel
from torch.nn.parallel import DistributedDataParallel
from trl.trainer.grpo_trainer import GRPOTrainer

from stages.lib.grpo.log import REPLACED, TOKENS, WITHOUT_SIGNAL
from stages.lib.grpo.logprobs import log_probabilities
from stages.lib.grpo.resampling import Group, SampledRound, sample_round
from stages.lib.grpo.rollouts import RolloutLog, Round
from stages.lib.grpo.schedule import PromptSchedule
from stages.lib.grpo.scoring import Scorer
from stages.lib.grpo.weights import merged_parameters
from stages.lib.training.adapters import Trainable, unwrap
from stages.lib.training.attention import can_attend_per_example

Row = dict[str, Any]


class ScheduledTrainer(GRPOTrainer):
    """TRL's trainer on prompts that are tokens already, with faster scoring on a CPU.

    Each process samples whole groups: its part of the round's problems and of the candidates
    that may replace some of them.
    """

    def __init__(
        self,
        schedule: PromptSchedule,
        scorer: Scorer,
        rollouts: RolloutLog,
        *,
        max_resamples: int,
        **options: Any,
    ) -> None:
        """Take TRL's arguments beside the rounds, their rewards and where they are logged."""
        super().__init__(reward_funcs=cast(Any, scorer.functions()), **options)
        self._schedule, self._scorer, self._rollouts = schedule, scorer, rollouts
        self._max_resamples = max_resamples
        self._group_size = cast(int, self.num_generations)
        self._rows: list[Row] = []
        self._sampled = SampledRound([], 0, 0, 0, 0)
        if self.use_vllm:
            # Creating the engine has seeded this process with its number alone.
            set_seed(self.args.seed, device_specific=True)
            if isinstance(self.model, PeftModel):
                engine: Any = self.vllm_generation
                engine._iter_named_params = partial(merged_parameters, self.model)  # noqa: SLF001

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[Any], None, dict[str, Any]]:
        return prompts, None, {}

    def _generate_single_turn(
        self, prompt_ids: list[Any], *_: Any, **__: Any
    ) -> tuple[list[list[int]], list[Any] | None]:
        """Sample this process's groups and replace those without signal, prompts included."""
        size = self._group_size
        step, process = self.state.global_step, self.accelerator.process_index
        candidates = self._schedule.candidates[step // self.num_iterations]
        self._scorer.forget()
        sampled = self._sampled = sample_round(
            [row["problem_index"] for row in self._rows[::size]],
            candidates[process :: self.accelerator.num_processes],
            self._sample,
            lambda group: self._scorer.has_signal(group.problem, group.completions),
            max_resamples=self._max_resamples,
        )
        for position, group in enumerate(sampled.groups):
            for row in range(position * size, (position + 1) * size):
                prompt_ids[row] = list(self._schedule.prompts[group.problem])
                self._rows[row]["problem_index"] = group.problem
        completions = [ids for group in sampled.groups for ids in group.completions]
        logprobs = [group.logprobs for group in sampled.groups if group.logprobs is not None]
        return completions, list(chain.from_iterable(logprobs)) or None

    def _sample(self, problems: Sequence[int]) -> list[Group]:
        size = self._group_size
        prompts = [list(self._schedule.prompts[index]) for index in problems for _ in range(size)]
        ids, logprobs = super()._generate_single_turn(prompts, None, {}, size)
        return [
            Group(problem, ids[start : start + size], logprobs and logprobs[start : start + size])
            for problem, start in zip(problems, range(0, len(ids), size), strict=True)
        ]

    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, Any]:
        # Copies: a replacing problem is written into its rows, by which TRL rewards them.
        self._rows = [dict(row) for row in inputs]
        batch = super()._generate_and_score_completions(self._rows)
        self._log_round()
        return batch

    def _log_round(self) -> None:
        """Log this round's completions and counts, those of all processes together."""
        sampled = gather_object([self._sampled])
        rows = gather_object(self._rollout_rows())
        # Gathered by TRL, in the same order.
        for row, advantage in zip(rows, self._logs["advantages"], strict=True):
            row["advantage"] = round(advantage, 6)
        groups = [group for part in sampled for group in part.groups]
        done = Round(
            problems=[group.problem for group in groups],
            completions=sum(part.generated_groups for part in sampled) * self._group_size,
            tokens=sum(part.generated_tokens for part in sampled),
            replaced=sum(part.replaced for part in sampled),
        )
        self._rollouts.add(done, rows)
        lacking = sum(part.without_signal for part in sampled)
        for name, value in (
            (WITHOUT_SIGNAL, lacking / len(groups)),
            (REPLACED, done.replaced),
            (TOKENS, done.tokens),
        ):
            self._metrics["train"][name].append(value)

    def _rollout_rows(self) -> list[Row]:
        """Return the completions of this process, as ``stages.lib.grpo.rollouts`` has them."""
        names = [reward.name for reward in self._scorer.rewards]
        return [
            {
                "step": self.state.global_step + 1,
                "problem_id": self._schedule.problems[group.problem].id,
                "question": self._schedule.problems[group.problem].question,
                "sample": sample,
                "text": self._scorer.text(ids),
                "tokens": len(ids),
                "ended": self._scorer.has_ended(ids),
                "rewards": dict(zip(names, self._scorer.scores(group.problem, ids), strict=True)),
                "reward": self._scorer.reward(group.problem, ids),
            }
            for group in self._sampled.groups
            for sample, ids in enumerate(group.completions)
        ]

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
        # Activations that are recomputed later would attend as the model does by then.
        recomputes = self.args.gradient_checkpointing
        if self.aux_loss_enabled or recomputes or not can_attend_per_example(policy):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, **options
            )
        size = batch_size or len(input_ids)
        parts = [
            log_probabilities(
                policy,
                ids,
                mask,
                logits_to_keep,
                temperature=self.temperature,
                forward=model if isinstance(model, DistributedDataParallel) else None,
            )
            for ids, mask in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logprobs, entropy = (torch.cat(values) for values in zip(*parts, strict=True))
        return logprobs, entropy, None
