"""Held-out loss while a tiny model is trained, and the parameters that it keeps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Example, Turn
from stages.lib.prompts.templates import POT_CUE
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.validation import (
    HELD_OUT_LOSS,
    best_step,
    choose_held_out,
    loss_at,
    split_held_out,
)
from tests.conftest import one_turn
from tests.lib.sft.test_batches import example
from tests.lib.sft.test_trainer import Beginnings, trained

BEST: dict[str, Any] = {"validation": 3, "evaluate_every": 2, "keep": "best", "save_every": 2}


@pytest.fixture
def held_out(tokenizer: PreTrainedTokenizerFast) -> list[TokenizedExample]:
    # Other responses than those trained on: more training makes them worse at some point.
    return [one_turn(list(range(20, 30)), [number, 60, 61], 1.0) for number in range(5)]


QUESTIONS = [f"{number}?" for number in range(9)]
# Those of nine with the least hashes of seed 1 and text.
CHOSEN = {"p3", "p6", "p7"}


def ids(examples: Sequence[Example]) -> set[str]:
    return {one.problem_id for one in examples}


def test_the_problems_set_apart_are_not_trained_on() -> None:
    arm = [
        replace(example(number), turns=[Turn(f" {number}?" + cue, "yes")])
        for number in range(9)
        for cue in ("", POT_CUE)
    ]
    left, apart = split_held_out(arm, choose_held_out(QUESTIONS, 3, seed=1))
    assert (len(left), len(apart)) == (12, 6)
    assert not ids(left) & ids(apart)
    assert ids(apart) == CHOSEN
    assert ids(apart) != ids(split_held_out(arm, choose_held_out(QUESTIONS, 3, seed=3))[1])
    assert split_held_out(arm, set()) == (arm, [])


def test_what_is_set_apart_does_not_depend_on_what_an_arm_holds() -> None:
    chosen = choose_held_out(reversed([*QUESTIONS, "0?  "]), 3, seed=1)
    # As in an arm of the model's own samples, which has no problem that was never solved.
    for held in (range(9), range(4), range(4, 9)):
        arm = [example(number) for number in held]
        left, apart = split_held_out([replace(one, repeats=0) for one in arm[:1]] + arm[1:], chosen)
        assert {one.repeats for one in apart} == {1}
        assert ids(apart) == CHOSEN & ids(arm)
        assert ids(left) == ids(arm) - CHOSEN


def test_something_has_to_be_left_to_train_on_and_something_to_be_set_apart() -> None:
    arm = [example(number) for number in range(9)]
    chosen = choose_held_out(QUESTIONS, 3, seed=1)
    inside = [replace(one, repeats=int(one.problem_id in CHOSEN)) for one in arm]
    for some, asked in [(arm, choose_held_out(QUESTIONS, 9, seed=1)), (inside, chosen)]:
        with pytest.raises(ValueError, match=r"^train\.validation: .* nothing is left of the arm"):
            split_held_out(some, asked)
    outside = [one for one in arm if one.problem_id not in CHOSEN]
    with pytest.raises(ValueError, match=r"^train\.validation: .* nothing of the arm is among"):
        split_held_out(outside, chosen)


def test_measuring_changes_nothing_of_the_training(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, held_out: list[TokenizedExample]
) -> None:
    log, params = trained(tokenizer, tmp_path / "plain")
    measuring: dict[str, Any] = {"validation": 3, "evaluate_every": 4}
    measured_log, measured = trained(tokenizer, tmp_path / "m", held_out=held_out, **measuring)
    assert all(torch.equal(one, other) for one, other in zip(params, measured, strict=True))
    for row, plain in zip(measured_log, log, strict=True):
        assert plain.items() <= row.items()
        if row["step"] in (4, 6):
            assert row["held_out_perplexity"] == math.exp(row[HELD_OUT_LOSS])
        else:
            assert row["held_out_perplexity"] is row[HELD_OUT_LOSS] is None


def test_the_best_parameters_are_kept_also_by_a_run_that_was_killed(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, held_out: list[TokenizedExample]
) -> None:
    log, kept = trained(tokenizer, tmp_path / "whole", held_out=held_out, **BEST)
    step = best_step(log)
    assert step == min((row[HELD_OUT_LOSS], row["step"]) for row in log[1::2])[1]
    assert step < 6
    _, last = trained(tokenizer, tmp_path / "cut", steps=step)
    assert all(torch.equal(one, other) for one, other in zip(kept, last, strict=True))
    trained(tokenizer, tmp_path / "killed", held_out=held_out, **BEST)
    (tmp_path / "killed" / "checkpoint-4" / "complete").unlink()
    begun = Beginnings()
    resumed_log, resumed = trained(
        tokenizer, tmp_path / "killed", held_out=held_out, watching=[begun], **BEST
    )
    assert begun.steps == [2]
    assert resumed_log == log
    assert all(torch.equal(one, other) for one, other in zip(kept, resumed, strict=True))


def test_the_loss_of_the_kept_step_is_found_or_nothing_where_none_was_measured() -> None:
    rows: list[dict[str, Any]] = [{"step": 1, HELD_OUT_LOSS: None}, {"step": 2, HELD_OUT_LOSS: 0.5}]
    assert loss_at(rows, 2) == {HELD_OUT_LOSS: 0.5}
    assert loss_at(rows, 1) == {}
    assert loss_at([{"step": 1}], 1) == {}
