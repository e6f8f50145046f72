"""Training problems set apart, and how well a model predicts them while it is trained.

A checkpoint is chosen by them and never by a benchmark, whose numbers would flatter.
"""

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
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

HELD_OUT_LOSS = "held_out_loss"


def choose_held_out(questions: Iterable[str], count: int, *, seed: int) -> set[str]:
    """Return ``count`` of some questions, or all if they are fewer, without a prompting's cue.

    The choice depends on the texts alone. It is made among all training problems, and
    among all conversations by what they ask first, so it is the same in every arm,
    whichever of them an arm holds; a problem that two data sets hold is on one side.
    """
    texts = {_plain(question) for question in questions}
    return set(sorted(texts, key=lambda text: content_id(str(seed), text))[:count])


def split_held_out(
    examples: Sequence[Example], chosen: Set[str]
) -> tuple[list[Example], list[Example]]:
    """Return an arm's examples to train on, and those set apart, which ask what was chosen.

    What is set apart is measured once, however often the arm would repeat it.
    Raises ValueError if one of the two would be empty although something was chosen.
    """
    left = [one for one in examples if _plain(one.turns[0].question) not in chosen]
    apart = [replace(one, repeats=1) for one in examples if _plain(one.turns[0].question) in chosen]
    if chosen and not any(one.repeats for one in left):
        raise ValueError(
            f"train.validation: {len(chosen)} problems or conversations are set apart, and nothing "
            "is left of the arm to train on: expected fewer"
        )
    if chosen and not apart:
        raise ValueError(
            f"train.validation: {len(chosen)} problems or conversations are set apart, and nothing "
            "of the arm is among them: expected more"
        )
    return left, apart


def _plain(question: str) -> str:
    return " ".join(question.removesuffix(POT_CUE).split())


class Validation(TrainerCallback):
    """Measures the held-out loss every few steps and after the last.

    The trained parameters with the lowest are kept in the file ``best``, if there is to
    be one. The measurements stand in the trainer's history, which checkpoints hold.
    """

    def __init__(
        self, solutions: Sequence[TokenizedExample], *, every: int, best: Path | None
    ) -> None:
        """Remember what to measure, when, and where the best parameters go."""
        self.solutions = solutions
        self.every = every
        self.best = best

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure, if it is time."""
        if state.global_step % self.every and state.global_step != state.max_steps:
            return
        before = [entry[HELD_OUT_LOSS] for entry in state.log_history if HELD_OUT_LOSS in entry]
        loss = self._loss(model)
        state.log_history.append({"step": state.global_step, HELD_OUT_LOSS: loss})
        if self.best is not None and loss < min(before, default=math.inf):
            with atomic_replace(self.best) as aside:
                save_file({name: param.data for name, param in _trained(model).items()}, aside)

    def _loss(self, model: Trainable) -> float:
        model.eval()
        found = negative_log_likelihoods(unwrap(model), self.solutions, lambda _: None)
        model.train()
        return sum(found) / sum(one.supervised for one in self.solutions)


@torch.no_grad()
def restore(model: Trainable, best: Path) -> None:
    """Give a model the trained parameters that were kept in the file ``best``."""
    params = _trained(model)
    for name, value in load_file(best).items():
        params[name].copy_(value)


def rows_by_step(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per step: ``loss`` (nats per supervised token) and what belongs to it.

    The columns are ``step``, ``loss``, ``learning_rate`` and ``grad_norm`` (before it is
    clipped). If a held-out loss was measured, it and its perplexity have a column, empty where it
    was not.
    """
    columns = ("step", "loss", "learning_rate", "grad_norm")
    rows = [{name: entry[name] for name in columns} for entry in history if "loss" in entry]
    measured = {
        entry["step"]: {
            HELD_OUT_LOSS: entry[HELD_OUT_LOSS],
            "held_out_perplexity": math.exp(entry[HELD_OUT_LOSS]),
        }
        for entry in history
        if HELD_OUT_LOSS in entry
    }
    if not measured:
        return rows
    empty = {HELD_OUT_LOSS: None, "held_out_perplexity": None}
    return [row | measured.get(row["step"], empty) for row in rows]


def best_step(rows: Sequence[dict[str, Any]]) -> int:
    """Return the first step with the lowest held-out loss."""
    measured = [row for row in rows if row[HELD_OUT_LOSS] is not None]
    return min(measured, key=lambda row: row[HELD_OUT_LOSS])["step"]


def loss_at(rows: Sequence[dict[str, Any]], step: int) -> dict[str, float]:
    """Return the held-out loss at a step under its name, or nothing if none was measured."""
    loss = next(row for row in rows if row["step"] == step).get(HELD_OUT_LOSS)
    return {} if loss is None else {HELD_OUT_LOSS: loss}


def _trained(model: Trainable) -> dict[str, torch.nn.Parameter]:
    return {name: param for name, param in model.named_parameters() if param.requires_grad}
