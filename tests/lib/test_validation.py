"""Held-out loss while a tiny model is trained, and the parameters that it keeps."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.packing import Tokens
from stages.lib.validation import HELD_OUT_LOSS, best_step, loss_at, set_apart
from tests.conftest import one_turn
from tests.lib.test_packing import example
from tests.lib.test_training import Beginnings, trained

BEST: dict[str, Any] = {"validation": 3, "evaluate_every": 2, "keep": "best", "save_every": 2}


@pytest.fixture
def held_out(tokenizer: PreTrainedTokenizerFast) -> list[Tokens]:
    # Other responses than those trained on: more training makes them worse at some point.
    return [one_turn(list(range(20, 30)), [number, 60, 61], 1.0) for number in range(5)]


def test_the_problems_set_apart_are_not_trained_on_and_the_same_in_every_arm() -> None:
    one_arm = [example(number) for number in range(9) for _ in ("cot", "pot")]
    other_arm = [example(number, repeats=number) for number in reversed(range(9))]
    left, apart = set_apart(one_arm, 3, seed=1)
    assert (len(left), len(apart)) == (12, 6)
    assert not {one.problem_id for one in left} & {one.problem_id for one in apart}
    of_other = set_apart(other_arm, 3, seed=1)[1]
    assert {one.problem_id for one in apart} == {one.problem_id for one in of_other}
    assert {one.problem_id for one in apart} != {
        one.problem_id for one in set_apart(one_arm, 3, seed=3)[1]
    }
    assert set_apart(one_arm, 0, seed=1) == (one_arm, [])


def test_something_has_to_be_left_to_train_on() -> None:
    with pytest.raises(ValueError, match=r"train\.validation: 9: expected fewer than the 9 "):
        set_apart([example(number) for number in range(9)], 9, seed=1)


def test_measuring_changes_nothing_of_the_training(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, held_out: list[Tokens]
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
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, held_out: list[Tokens]
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
