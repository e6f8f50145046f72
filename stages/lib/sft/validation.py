"""Validation during training: examples kept out of it, and the model's loss on them.

A checkpoint is chosen by this loss and never by a benchmark, whose scores would then be biased.
"""

import math
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from stages.lib.core.files import atomic_replace
from stages.lib.core.schema import Example, content_id
from stages.lib.prompts.templates import POT_CUE
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.training.adapters import Trainable, unwrap
from stages.lib.training.likelihood import negative_log_likelihoods

VALIDATION_LOSS = "validation_loss"
_PERPLEXITY = "validation_perplexity"


def choose_validation(questions: Iterable[str], count: int, *, seed: int) -> set[str]:
    """Return ``count`` of the questions, or all if there are fewer, without the program cue.

    The choice depends on the texts and the seed alone. It is made among all training problems
    or all conversations, so it is the same for every arm; a problem of two data sets is
    either trained on or validated on, never both.
    """
    texts = {_normalize(question) for question in questions}
    return set(sorted(texts, key=lambda text: content_id(str(seed), text))[:count])


def split_validation(
    examples: Iterable[Example], chosen: Set[str]
) -> tuple[Iterable[Example], Iterable[Example]]:
    """Split an arm's examples into those to train on and those whose first question is chosen.

    ``examples`` is iterated whenever a part is. A validation example is measured once, however
    often the arm would repeat it. Raises ValueError if either part would be empty although
    questions were chosen.
    """
    training = _Part(examples, chosen, is_chosen=False)
    validation = _Part(examples, chosen, is_chosen=True)
    if chosen and not any(example.repeats for example in training):
        raise ValueError(
            f"train.validation: {len(chosen)} problems or conversations are for validation, and "
            "nothing of the arm is left to train on: expected fewer"
        )
    if chosen and not any(True for _ in validation):
        raise ValueError(
            f"train.validation: {len(chosen)} problems or conversations are for validation, and "
            "the arm has none of them: expected more"
        )
    return training, validation


@dataclass(frozen=True)
class _Part:
    """The examples of an arm whose first question is chosen, or those whose is not."""

    examples: Iterable[Example]
    chosen: Set[str]
    is_chosen: bool

    def __iter__(self) -> Iterator[Example]:
        for example in self.examples:
            if (_normalize(example.turns[0].question) in self.chosen) == self.is_chosen:
                yield replace(example, repeats=1) if self.is_chosen else example


def _normalize(question: str) -> str:
    return " ".join(question.removesuffix(POT_CUE).split())


@dataclass(eq=False)
class Validation(TrainerCallback):
    """Measures the loss on ``examples`` every ``every`` steps and after the last.

    The trained parameters with the lowest loss are saved to the file ``best``, if one is
    given. The losses are kept in the trainer's history, which checkpoints hold.
    """

    examples: Sequence[TokenizedExample]
    every: int
    best: Path | None

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure the loss if it is due."""
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        earlier = [
            entry[VALIDATION_LOSS] for entry in state.log_history if VALIDATION_LOSS in entry
        ]
        loss = self._loss(model)
        state.log_history.append({"step": state.global_step, VALIDATION_LOSS: loss})
        if self.best is not None and loss < min(earlier, default=math.inf):
            with atomic_replace(self.best) as tmp:
                save_file({name: param.data for name, param in _trained(model).items()}, tmp)

    def _loss(self, model: Trainable) -> float:
        model.eval()
        losses = negative_log_likelihoods(unwrap(model), self.examples, lambda _: None)
        model.train()
        return sum(losses) / sum(example.supervised for example in self.examples)


@torch.no_grad()
def restore(model: Trainable, best: Path) -> None:
    """Load the trained parameters that were saved in the file ``best`` into a model."""
    params = _trained(model)
    for name, value in load_file(best).items():
        params[name].copy_(value)


def rows_by_step(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per step of a trainer's history.

    The columns are ``step``, ``loss`` (nats per supervised token), ``learning_rate`` and
    ``grad_norm`` (before clipping). If a validation loss was measured, it and its perplexity
    have a column, None where it was not.
    """
    columns = ("step", "loss", "learning_rate", "grad_norm")
    rows = [{name: entry[name] for name in columns} for entry in history if "loss" in entry]
    measured = {
        entry["step"]: {
            VALIDATION_LOSS: entry[VALIDATION_LOSS],
            _PERPLEXITY: math.exp(entry[VALIDATION_LOSS]),
        }
        for entry in history
        if VALIDATION_LOSS in entry
    }
    if not measured:
        return rows
    empty = {VALIDATION_LOSS: None, _PERPLEXITY: None}
    return [row | measured.get(row["step"], empty) for row in rows]


def best_step(rows: Sequence[dict[str, Any]]) -> int:
    """Return the first step with the lowest validation loss."""
    measured = [row for row in rows if row[VALIDATION_LOSS] is not None]
    return min(measured, key=lambda row: row[VALIDATION_LOSS])["step"]


def loss_at(rows: Sequence[dict[str, Any]], step: int) -> dict[str, float]:
    """Return the validation loss at a step under its name, or nothing if none was measured."""
    loss = next(row for row in rows if row["step"] == step).get(VALIDATION_LOSS)
    return {} if loss is None else {VALIDATION_LOSS: loss}


def _trained(model: Trainable) -> dict[str, torch.nn.Parameter]:
    return {name: param for name, param in model.named_parameters() if param.requires_grad}
