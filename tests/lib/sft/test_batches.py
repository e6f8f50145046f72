"""Examples as tokens, micro-batches, and the plan of a run."""

from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Example, Turn
from stages.lib.params.data import Prompts
from stages.lib.params.training import FullTuning, Train
from stages.lib.prompts.tokenize import tokenize
from stages.lib.sft.batches import exposure_stats, plan, tokenize_examples
from stages.lib.training.packing import IGNORED, micro_batch
from tests.conftest import END, one_turn, prompt_of, response_of

CHAT = Prompts(format="chat", system="", stop=[])
ALPACA = Prompts(format="alpaca", system="", stop=[])


def example(number: int, *, repeats: int = 1, weight: float = 1.0) -> Example:
    return Example(
        problem_id=f"p{number}",
        source="s",
        prompting="cot",
        turns=[Turn(f"{number}?", "yes" + "!" * (number % 5))],
        repeats=repeats,
        weight=weight,
    )


def settings(**changes: Any) -> Train:
    values = {
        "seed": 1,
        "tuning": FullTuning(method="full"),
        "tuning_by_arm": {},
        "seeds": {},
        "steps": 6,
        "tokens_per_step": 40,
        "micro_batches": 2,
        "gradient_checkpointing": False,
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
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, chosen: Train
) -> list[dict[str, Any]]:
    return plan(tokenize_examples(examples, tokenizer, CHAT, chosen), chosen)


@pytest.mark.parametrize("prompts", [CHAT, ALPACA])
def test_the_end_of_turn_is_learned_and_the_prompt_is_not(
    tokenizer: PreTrainedTokenizerFast, prompts: Prompts
) -> None:
    tokens = tokenize(example(0), tokenizer, prompts, 512)
    assert tokenizer.decode(response_of(tokens)) == "yes" + END
    assert "0?" in tokenizer.decode(prompt_of(tokens))
    assert "yes" not in tokenizer.decode(prompt_of(tokens))


@pytest.mark.parametrize("prompts", [CHAT, ALPACA])
def test_every_response_of_a_conversation_is_learned(
    tokenizer: PreTrainedTokenizerFast, prompts: Prompts
) -> None:
    turns = [Turn("1 + 1?", "2."), Turn("And 1 more?", "3."), Turn("Thanks!", "Gladly.")]
    tokens = tokenize(replace(example(0), turns=turns), tokenizer, prompts, 512)
    assert tokenizer.decode(response_of(tokens)) == f"2.{END}3.{END}Gladly.{END}"
    text = tokenizer.decode(tokens.ids)
    assert [text.count(one) for one in ("1 + 1?", "2.", "And 1 more?", "3.")] == [1] * 4
    if prompts is CHAT:
        assert text == (
            f"<|user|>1 + 1?{END}<|assistant|>2.{END}<|user|>And 1 more?{END}<|assistant|>3.{END}"
            f"<|user|>Thanks!{END}<|assistant|>Gladly.{END}"
        )


def test_a_conversation_brings_its_own_system_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    usual = Prompts(format="chat", system="Solve.", stop=[])
    own = tokenize(replace(example(0), system="Rhyme."), tokenizer, usual, 512)
    assert f"<|system|>Rhyme.{END}<|user|>" in tokenizer.decode(own.ids)
    exclude = tokenize(example(0), tokenizer, usual, 512)
    assert f"<|system|>Solve.{END}<|user|>" in tokenizer.decode(exclude.ids)


def test_alpaca_has_a_conversations_own_system_prompt_in_the_place_of_its_preamble(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    own = tokenize(replace(example(0), system="Rhyme."), tokenizer, ALPACA, 512)
    assert tokenizer.decode(own.ids) == f"Rhyme.\n\n### Instruction:\n0?\n\n### Response:\nyes{END}"


def test_an_example_that_is_too_long_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match=r"train.max_length: 5: example of problem p0 \(cot\)"):
        tokenize(example(0), tokenizer, CHAT, 5)


def test_examples_that_are_too_long_are_dropped_and_said(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    examples = [example(number) for number in range(9)]
    lengths = [len(tokenize(one, tokenizer, CHAT, 64)) for one in examples]
    limit = max(lengths) - 1
    found = tokenize_examples(
        examples, tokenizer, CHAT, settings(max_length=limit, overlong="drop")
    )
    assert found.examples == [one for one, n in zip(examples, lengths, strict=True) if n <= limit]
    assert [len(tokens) for tokens in found.tokens] == [n for n in lengths if n <= limit]
    assert found.overlong == len(examples) - len(found.examples) > 0
    with pytest.raises(ValueError, match=r"train.max_length: 5: all 9 examples are longer"):
        tokenize_examples(examples, tokenizer, CHAT, settings(max_length=5, overlong="drop"))


def test_an_example_that_no_pass_holds_may_be_too_long(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    limit = len(tokenize(example(0), tokenizer, CHAT, 64))
    outside = example(4, repeats=0)
    found = tokenize_examples([example(0), outside], tokenizer, CHAT, settings(max_length=limit))
    assert (found.examples, found.overlong) == ([example(0)], 0)
    with pytest.raises(ValueError, match=rf"train.max_length: {limit}: example of problem p4 "):
        tokenize_examples([example(0), example(4)], tokenizer, CHAT, settings(max_length=limit))


# Five examples, each of 4 to 8 supervised tokens: "yes", up to four marks, and the end.
@pytest.mark.parametrize(
    ("changes", "said"),
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
def test_a_plan_that_cannot_be_names_the_parameter_and_the_problem(
    tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as error:
        planned([example(number) for number in range(5)], tokenizer, settings(**changes))
    assert "\n" not in str(error.value)


def test_examples_that_are_too_long_lose_their_end(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = tokenize(example(4), tokenizer, CHAT, 64)
    limit = len(whole) - 2
    chosen = settings(max_length=limit, overlong="truncate")
    found = tokenize_examples([example(0), example(4)], tokenizer, CHAT, chosen)
    assert found.overlong == 1
    assert found.tokens[0] == tokenize(example(0), tokenizer, CHAT, 64)
    assert prompt_of(found.tokens[1]) == prompt_of(whole)
    assert response_of(found.tokens[1]) == response_of(whole)[:-2]


def test_a_prompt_that_leaves_nothing_to_learn_is_dropped(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    long = replace(example(4), turns=[Turn("4?" * 9, "yes")])
    limit = len(prompt_of(tokenize(long, tokenizer, CHAT, 64)))
    chosen = settings(max_length=limit, overlong="truncate")
    found = tokenize_examples([example(0), long], tokenizer, CHAT, chosen)
    assert (found.examples, found.overlong) == ([example(0)], 1)
    with pytest.raises(ValueError, match=f"train.max_length: {limit}: all 1 examples are longer"):
        tokenize_examples([long], tokenizer, CHAT, chosen)


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


def supervised(row: dict[str, list[Any]]) -> int:
    return sum(label != IGNORED for label in row["labels"])


@pytest.mark.parametrize("repeats", [[1] * 9, [1, 5, 2, 3, 1, 4, 2, 1, 6]])
def test_every_step_of_every_arm_has_the_same_supervised_tokens(
    tokenizer: PreTrainedTokenizerFast, repeats: list[int]
) -> None:
    examples = [example(number, repeats=count) for number, count in enumerate(repeats)]
    rows = planned(examples, tokenizer, settings())
    assert len(rows) == 6 * 2
    for step in range(6):
        assert sum(map(supervised, rows[2 * step : 2 * step + 2])) == 40


def test_weights_have_mean_one_over_the_supervised_tokens(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    examples = [example(number, weight=1.0 + number) for number in range(9)]
    rows = planned(examples, tokenizer, settings())
    assert sum(sum(row["weights"]) for row in rows) == pytest.approx(6 * 40)


def test_an_example_is_not_in_a_step_before_it_joins(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [replace(example(number), start_fraction=0.5 * (number >= 5)) for number in range(9)]
    rows = planned(examples, tokenizer, settings())
    texts = [tokenizer.decode(row["input_ids"]) for row in rows]
    asked = [{number for number in range(9) if f"{number}?" in text} for text in texts]
    assert set().union(*asked[: 3 * 2]) == set(range(5))
    assert set().union(*asked[3 * 2 :]) == set(range(9))


def test_the_rows_of_a_focal_arm_alone_have_focal_columns(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plain = [example(number) for number in range(9)]
    rows = planned(plain, tokenizer, settings())
    focal = planned([replace(one, focal_gamma=2.0) for one in plain], tokenizer, settings())
    for row, weighed in zip(rows, focal, strict=True):
        added = {"gammas", "units", "judges"}
        assert row == {name: values for name, values in weighed.items() if name not in added}
        assert {len(weighed[name]) for name in added} == {len(row["labels"])}
        assert [gamma > 0 for gamma in weighed["gammas"]] == [at != IGNORED for at in row["labels"]]


def test_weights_that_are_all_zero_are_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [example(number, weight=0.0) for number in range(9)]
    with pytest.raises(ValueError, match="every loss weight is 0"):
        planned(examples, tokenizer, settings())


def test_the_plan_is_a_function_of_the_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [example(number) for number in range(9)]
    first = planned(examples, tokenizer, settings())
    assert planned(examples, tokenizer, settings()) == first
    assert planned(examples, tokenizer, settings(seed=2)) != first


def test_what_a_run_shows_is_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    # Two examples of one problem, one of them twice a pass; an example of another problem.
    same = replace(example(0), turns=[Turn("0?", "yes!")])
    fitted = tokenize_examples(
        [example(0, repeats=2), same, example(5)], tokenizer, CHAT, settings()
    )
    lengths = [one.supervised for one in fitted.tokens]
    a_pass = 2 * lengths[0] + lengths[1] + lengths[2]
    rows = plan(fitted, settings(steps=2, tokens_per_step=a_pass))
    found = exposure_stats(rows, fitted)
    assert found == {"shown": 8, "distinct": 3, "of_problems": 2, "most": 4, "passes": 2.0}
