"""Validation loss while a tiny model is trained, and the parameters that it keeps."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from stages.lib.core.schema import Example, Turn
from stages.lib.prompts.templates import POT_CUE
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.validation import (
    VALIDATION_LOSS,
    best_step,
    choose_validation,
    loss_at,
    split_validation,
)
from tests.conftest import one_turn
from tests.lib.sft.test_batches import NINE, example
from tests.lib.sft.test_trainer import Beginnings, Trained, assert_same, same_params, trained

BEST: dict[str, Any] = {"validation": 3, "evaluate_every": 2, "keep": "best", "save_every": 2}


@pytest.fixture
def validation_examples() -> list[TokenizedExample]:
    # Other responses than those trained on: more training makes them worse at some point.
    return [one_turn(list(range(20, 30)), [number, 60, 61], 1.0) for number in range(5)]


QUESTIONS = [f"{number}?" for number in range(9)]
# The three of nine with the smallest hashes of seed 1 and text.
CHOSEN = {"p3", "p6", "p7"}


def ids(examples: Iterable[Example]) -> set[str]:
    return {row.problem_id for row in examples}


def test_validation_problems_are_not_trained_on() -> None:
    arm = [
        replace(example(number), turns=[Turn(f" {number}?" + cue, "yes")])
        for number in range(9)
        for cue in ("", POT_CUE)
    ]
    training, validation = split_validation(arm, choose_validation(QUESTIONS, 3, seed=1))
    assert (len(list(training)), len(list(validation))) == (12, 6)
    assert not ids(training) & ids(validation)
    assert ids(validation) == CHOSEN
    _, other = split_validation(arm, choose_validation(QUESTIONS, 3, seed=3))
    assert ids(validation) != ids(other)
    assert [list(part) for part in split_validation(arm, set())] == [arm, []]


def test_the_choice_does_not_depend_on_what_an_arm_holds() -> None:
    chosen = choose_validation(reversed([*QUESTIONS, "0?  "]), 3, seed=1)
    # As in an arm of the model's own samples, which has no problem that was never solved.
    for numbers in (range(9), range(4), range(4, 9)):
        arm = [example(number, repeats=int(number != numbers[0])) for number in numbers]
        training, validation = split_validation(arm, chosen)
        assert {row.repeats for row in validation} == {1}
        assert ids(validation) == CHOSEN & ids(arm)
        assert ids(training) == ids(arm) - CHOSEN


def test_neither_training_nor_validation_may_be_empty() -> None:
    chosen = choose_validation(QUESTIONS, 3, seed=1)
    inside = [replace(row, repeats=int(row.problem_id in CHOSEN)) for row in NINE]
    for arm, questions in [(NINE, choose_validation(QUESTIONS, 9, seed=1)), (inside, chosen)]:
        with pytest.raises(ValueError, match=r"^train\.validation: .* nothing of the arm is left"):
            split_validation(arm, questions)
    outside = [row for row in NINE if row.problem_id not in CHOSEN]
    with pytest.raises(ValueError, match=r"^train\.validation: .* the arm has none of them"):
        split_validation(outside, chosen)


def test_measuring_changes_nothing_of_the_training(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    validation_examples: list[TokenizedExample],
    whole_run: Trained,
) -> None:
    measured = trained(
        tokenizer, tmp_path, validation_examples=validation_examples, validation=3, evaluate_every=4
    )
    assert same_params(measured.params, whole_run.params)
    for row, unmeasured in zip(measured.log, whole_run.log, strict=True):
        assert unmeasured.items() <= row.items()
        if row["step"] in (4, 6):
            assert row["validation_perplexity"] == math.exp(row[VALIDATION_LOSS])
        else:
            assert row["validation_perplexity"] is row[VALIDATION_LOSS] is None


def test_the_best_parameters_are_kept_also_by_a_run_that_was_killed(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    validation_examples: list[TokenizedExample],
    whole_run: Trained,
) -> None:
    best = trained(tokenizer, tmp_path / "b", validation_examples=validation_examples, **BEST)
    step = best_step(best.log)
    assert step == min((row[VALIDATION_LOSS], row["step"]) for row in best.log[1::2])[1]
    assert step < 6
    at_step = Qwen2ForCausalLM.from_pretrained(
        whole_run.checkpoints / f"checkpoint-{step}", dtype=torch.bfloat16
    )
    assert same_params(best.params, list(at_step.parameters()))
    beginnings = Beginnings()
    resumed = trained(
        tokenizer,
        best.copy_checkpoints(tmp_path / "killed", 4),
        validation_examples=validation_examples,
        callbacks=[beginnings],
        **BEST,
    )
    assert beginnings.steps == [2]
    assert_same(resumed, best)


def test_the_loss_of_the_kept_step_is_returned_or_nothing_if_none_was_measured() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, VALIDATION_LOSS: None},
        {"step": 2, VALIDATION_LOSS: 0.5},
    ]
    assert loss_at(rows, 2) == {VALIDATION_LOSS: 0.5}
    assert loss_at(rows, 1) == {}
    assert loss_at([{"step": 1}], 1) == {}
