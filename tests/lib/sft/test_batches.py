"""Micro-batches, and the plan of a run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Example, Turn
from stages.lib.params.data import Prompts
from stages.lib.params.training import FullTuning, Launch, Train
from stages.lib.sft.batches import TrainingPlan, exposure_stats, plan_training
from stages.lib.sft.factors import LossFactor, factor_columns
from stages.lib.sft.schedule import max_load
from stages.lib.sft.tokens import tokenize_examples
from stages.lib.training.packing import IGNORED, micro_batch
from tests.conftest import one_turn
from tests.rows import make_example

CHAT = Prompts(format="chat", system="", stop=[])
# Tests of the planner and the trainers share the tokens of their few examples.
_CACHE = TemporaryDirectory()


def example(number: int, *, repeats: int = 1, weight: float = 1.0) -> Example:
    turns = [Turn(f"{number}?", "yes" + "!" * (number % 5))]
    return make_example(f"p{number}", turns=turns, repeats=repeats, weight=weight)


NINE = [example(number) for number in range(9)]


def settings(**changes: Any) -> Train:
    values = {
        "seed": 1,
        "tuning": FullTuning(method="full", optimizer="adamw"),
        "steps": 6,
        "tokens_per_step": 40,
        "micro_batches": 2,
        "row_tokens": None,
        "gradient_checkpointing": False,
        "compile": False,
        "max_length": 64,
        "overlong": "error",
        "learning_rate": 1e-3,
        "schedule": "constant_with_warmup",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "save_every": 3,
        "validation": 0,
        "evaluate_every": None,
        "keep": "last",
        "launch": None,
        "tracking": [],
    }
    return Train(**(values | changes))


def planned(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, chosen: Train
) -> TrainingPlan:
    data = tokenize_examples(examples, tokenizer, CHAT, chosen, Path(_CACHE.name))
    return plan_training(data, chosen)


def rows_of(plan: TrainingPlan) -> list[dict[str, Any]]:
    return [plan.row(index) for index in range(len(plan.micro_batches))]


# Five examples, each of 4 to 8 supervised tokens: "yes", up to four marks, and the end.
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tokens_per_step": 7},
            r"^train\.tokens_per_step: 7: example of problem p4 \(cot\): 8 supervised tokens: ",
        ),
        (
            {"tokens_per_step": 10},
            r"^train\.tokens_per_step: 10: example of problem p3 \(cot\): 7 supervised tokens: ",
        ),
        (
            {"tokens_per_step": 12, "micro_batches": 4},
            r"^train\.micro_batches: 4: step 1 has [23] examples: expected at most as many, ",
        ),
    ],
)
def test_an_impossible_plan_names_the_parameter_and_the_problem(
    tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        planned(NINE[:5], tokenizer, settings(**changes))
    assert "\n" not in str(error.value)


def test_a_micro_batch_is_its_examples_end_to_end() -> None:
    row = micro_batch([one_turn([1, 2], [3, 4], 1.0), one_turn([5], [6], 3.0)], 2.0)
    assert row == {
        "input_ids": [1, 2, 3, 4, 5, 6],
        "labels": [IGNORED, IGNORED, 3, 4, IGNORED, 6],
        "position_ids": [0, 1, 2, 3, 0, 1],
        "weights": [0.0, 0.0, 0.5, 0.5, 0.0, 1.5],
    }


def test_a_micro_batch_without_a_supervised_token_is_an_error() -> None:
    with pytest.raises(ValueError, match="no supervised token"):
        micro_batch([one_turn([1, 2], [], 1.0)], 1.0)


@pytest.mark.parametrize("repeats", [[1] * 9, [1, 5, 2, 3, 1, 4, 2, 1, 6]])
def test_every_step_of_every_arm_has_the_same_supervised_tokens(
    tokenizer: PreTrainedTokenizerFast, repeats: list[int]
) -> None:
    examples = [example(number, repeats=count) for number, count in enumerate(repeats)]
    plan = planned(examples, tokenizer, settings())
    rows = rows_of(plan)
    assert len(rows) == 6 * 2
    supervised = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    for step in range(6):
        assert sum(supervised[2 * step : 2 * step + 2]) == 40
        texts = "".join(
            str(tokenizer.decode(row["input_ids"])) for row in rows[2 * step : 2 * step + 2]
        )
        assert all(f"{problem[1:]}?" in texts for problem in plan.problem_ids(step))
        assert len(plan.problem_ids(step)) == texts.count("?")


@pytest.mark.parametrize("processes", [None, 2, 3])
@pytest.mark.parametrize("row_tokens", [64, 80, 1000])
def test_rows_of_at_most_some_tokens_are_as_few_as_can_be(
    tokenizer: PreTrainedTokenizerFast, row_tokens: int, processes: int | None
) -> None:
    launch = None if processes is None else Launch(strategy="ddp", processes=processes)
    by_count = planned(NINE, tokenizer, settings())
    plan = planned(NINE, tokenizer, settings(micro_batches=6, row_tokens=row_tokens, launch=launch))
    assert plan.per_step % (processes or 1) == 0
    lengths = [len(row["labels"]) for row in rows_of(plan)]
    assert max(lengths) <= row_tokens
    # One process fewer, or one row, would not do.
    fewer = plan.per_step - (processes or 1)
    if fewer:
        assert any(
            max_load([plan.data.lengths[i] for i in plan.step(step)], fewer) > row_tokens
            for step in range(6)
        )
    # The steps have the same examples, and so the same number of supervised tokens.
    for step in range(6):
        assert sorted(plan.step(step)) == sorted(by_count.step(step))


def test_a_row_may_be_full(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = planned(NINE, tokenizer, settings(row_tokens=1000))
    longest = max(len(row["labels"]) for row in rows_of(whole))
    full = planned(NINE, tokenizer, settings(row_tokens=longest))
    less = planned(NINE, tokenizer, settings(row_tokens=longest - 1))
    assert (whole.per_step, full.per_step, less.per_step) == (1, 1, 2)


def test_weights_have_mean_one_over_the_supervised_tokens(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    examples = [example(number, weight=1.0 + number) for number in range(9)]
    rows = rows_of(planned(examples, tokenizer, settings()))
    assert sum(sum(row["weights"]) for row in rows) == pytest.approx(6 * 40)


def test_an_example_is_not_in_a_step_before_it_joins(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [replace(example(number), start_fraction=0.5 * (number >= 5)) for number in range(9)]
    plan = planned(examples, tokenizer, settings())
    early, late = (
        {problem for step in steps for problem in plan.problem_ids(step)}
        for steps in (range(3), range(3, 6))
    )
    assert early == {f"p{number}" for number in range(5)}
    assert late == {f"p{number}" for number in range(9)}


def test_the_rows_of_an_arm_with_a_loss_factor_alone_have_its_columns(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plain = planned(NINE, tokenizer, settings())
    assert plain.factor is None
    examples = [replace(source, factor="focal", factor_power=2.0) for source in NINE]
    focal = planned(examples, tokenizer, settings())
    assert focal.factor == LossFactor("focal", 2.0, "token", 0.0)
    for row, focal_row in zip(rows_of(plain), rows_of(focal), strict=True):
        added = {"units", "factor_units"}
        assert row == {name: values for name, values in focal_row.items() if name not in added}
        assert {len(focal_row[name]) for name in added} == {len(row["labels"])}
        assert [unit >= 0 for unit in focal_row["units"]] == [
            label != IGNORED for label in row["labels"]
        ]


def test_the_examples_of_an_arm_share_a_loss_factor(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [replace(NINE[0], factor="focal"), *NINE[1:]]
    with pytest.raises(ValueError, match="examples: 2 loss factors: expected one for all"):
        planned(examples, tokenizer, settings())


@pytest.mark.parametrize("level", ["token", "example"])
def test_shuffled_units_are_drawn_in_the_order_of_the_rows_however_they_are_built(
    tokenizer: PreTrainedTokenizerFast, level: Any
) -> None:
    examples = [
        replace(source, factor="focal", factor_unit=level, factor_shuffled=number != 4)
        for number, source in enumerate(NINE)
    ]
    plan = planned(examples, tokenizer, settings())
    rng = np.random.default_rng()
    rng.bit_generator.state = plan.factor_rngs[0].bit_generator.state
    backwards = [plan.row(index) for index in reversed(range(12))][::-1]
    for index, row in enumerate(backwards):
        batch = plan.micro_batches[index]
        masks = [plan.data[i].loss_mask for i in batch]
        columns = factor_columns([plan.data.examples[i] for i in batch], masks, rng)
        assert {name: row[name] for name in columns} == columns


def test_weights_that_are_all_zero_are_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [example(number, weight=0.0) for number in range(9)]
    with pytest.raises(ValueError, match="every loss weight is 0"):
        planned(examples, tokenizer, settings())


def test_the_plan_is_a_function_of_the_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    first = planned(NINE, tokenizer, settings()).micro_batches
    assert planned(NINE, tokenizer, settings()).micro_batches == first
    assert planned(NINE, tokenizer, settings(seed=2)).micro_batches != first


def test_exposures_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    # Two different examples of one problem, one of them twice an epoch and once more as a copy;
    # an example of another problem.
    other = replace(example(0), turns=[Turn("0?", "yes!")])
    examples = [example(0, repeats=2), other, example(5), example(0)]
    lengths = [4, 5, 4, 4]  # "yes", marks and the end
    epoch = 2 * lengths[0] + lengths[1] + lengths[2] + lengths[3]
    plan = planned(examples, tokenizer, settings(steps=2, tokens_per_step=epoch))
    assert exposure_stats(plan) == {
        "examples": 10,
        "distinct_examples": 3,
        "distinct_problems": 2,
        "max_repeats": 6,
        "epochs": 2.0,
        "supervised_tokens": 2 * epoch,
        "processed_tokens": 2 * sum(plan.data.lengths[i] for i in (0, 0, 1, 2, 3)),
    }
