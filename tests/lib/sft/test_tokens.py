"""Examples as tokens, and the cache that arms share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Example, Turn
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts.tokenize import TokenizedExample, tokenize
from stages.lib.sft import tokens as sft_tokens
from stages.lib.sft.tokens import TokenizedExamples, tokenize_examples
from tests.conftest import END, prompt_of, response_of
from tests.lib.sft.test_batches import CHAT, example, settings

ALPACA = Prompts(format="alpaca", system="", stop=[])


@pytest.mark.parametrize("prompts", [CHAT, ALPACA])
def test_every_response_is_learned_to_its_end_of_turn_and_no_prompt(
    tokenizer: PreTrainedTokenizerFast, prompts: Prompts
) -> None:
    turns = [Turn("1 + 1?", "2."), Turn("And 1 more?", "3."), Turn("Thanks!", "Gladly.")]
    tokens = tokenize(replace(example(0), turns=turns), tokenizer, prompts)
    assert tokenizer.decode(response_of(tokens)) == f"2.{END}3.{END}Gladly.{END}"
    text = tokenizer.decode(tokens.ids)
    assert [text.count(part) for part in ("1 + 1?", "2.", "And 1 more?", "3.")] == [1] * 4
    if prompts is CHAT:
        assert text == (
            f"<|user|>1 + 1?{END}<|assistant|>2.{END}<|user|>And 1 more?{END}<|assistant|>3.{END}"
            f"<|user|>Thanks!{END}<|assistant|>Gladly.{END}"
        )


def test_a_conversation_brings_its_own_system_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    usual = Prompts(format="chat", system="Solve.", stop=[])
    rhyme = replace(example(0), system="Rhyme.")
    for source, system in [(rhyme, "Rhyme."), (example(0), "Solve.")]:
        text = str(tokenizer.decode(tokenize(source, tokenizer, usual).ids))
        assert text.startswith(f"<|system|>{system}{END}<|user|>")
    # In Alpaca's format it takes the place of the preamble.
    text = tokenizer.decode(tokenize(rhyme, tokenizer, ALPACA).ids)
    assert text == f"Rhyme.\n\n### Instruction:\n0?\n\n### Response:\nyes{END}"


def test_an_example_that_is_too_long_is_named(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"train.max_length: 5: example of problem p0 \(cot\)"):
        tokenize_examples([example(0)], tokenizer, CHAT, settings(max_length=5), tmp_path)


def tokens_of(data: TokenizedExamples) -> list[TokenizedExample]:
    tokens = [data[index] for index in range(len(data))]
    assert data.lengths == [len(example_tokens) for example_tokens in tokens]
    assert data.supervised == [example_tokens.supervised for example_tokens in tokens]
    return tokens


def test_overlong_examples_are_dropped_and_counted(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    examples = [example(number) for number in range(9)]
    whole = [tokenize(source, tokenizer, CHAT) for source in examples]
    limit = max(map(len, whole)) - 1
    dropping = settings(max_length=limit, overlong="drop")
    data = tokenize_examples(examples, tokenizer, CHAT, dropping, tmp_path)
    fitting = [index for index in range(9) if len(whole[index]) <= limit]
    assert data.examples == [examples[index].info() for index in fitting]
    assert tokens_of(data) == [whole[index] for index in fitting]
    assert data.overlong == 9 - len(fitting) > 0
    with pytest.raises(ValueError, match=r"train.max_length: 5: all 9 examples are longer"):
        shorter = settings(max_length=5, overlong="drop")
        tokenize_examples(examples, tokenizer, CHAT, shorter, tmp_path)


def test_an_example_that_is_never_repeated_may_be_overlong(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    limit = len(tokenize(example(0), tokenizer, CHAT))
    unused = example(4, repeats=0)
    strict = settings(max_length=limit)
    data = tokenize_examples([example(0), unused], tokenizer, CHAT, strict, tmp_path)
    assert (data.examples, data.overlong) == ([example(0).info()], 0)
    with pytest.raises(ValueError, match=rf"train.max_length: {limit}: example of problem p4 "):
        tokenize_examples([example(0), example(4)], tokenizer, CHAT, strict, tmp_path)


def truncated(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, limit: int, cache: Path
) -> TokenizedExamples:
    chosen: Train = settings(max_length=limit, overlong="truncate")
    return tokenize_examples(examples, tokenizer, CHAT, chosen, cache)


def test_overlong_examples_are_truncated(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    whole = tokenize(example(4, weight=2.0), tokenizer, CHAT)
    examples = [example(0), example(4, weight=2.0)]
    data = truncated(examples, tokenizer, len(whole) - 2, tmp_path)
    assert data.overlong == 1
    assert tokens_of(data) == [tokenize(example(0), tokenizer, CHAT), whole.first(-2)]


def test_a_prompt_that_leaves_nothing_to_learn_is_dropped(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    long = replace(example(4), turns=[Turn("4?" * 9, "yes")])
    limit = len(prompt_of(tokenize(long, tokenizer, CHAT)))
    data = truncated([example(0), long], tokenizer, limit, tmp_path)
    assert (data.examples, data.overlong) == ([example(0).info()], 1)
    with pytest.raises(ValueError, match=f"train.max_length: {limit}: all 1 examples are longer"):
        truncated([long], tokenizer, limit, tmp_path)


def test_arms_with_the_same_texts_share_the_cache(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counting(batch: Sequence[Example], *arguments: Any) -> list[TokenizedExample]:
        calls.extend("" for _ in batch)
        return original(batch, *arguments)

    original = sft_tokens.tokenize_batch
    monkeypatch.setattr(sft_tokens, "tokenize_batch", counting)

    roomy = settings(max_length=512)

    def tokenized(prompts: Prompts, *examples: Example) -> list[TokenizedExample]:
        return tokens_of(tokenize_examples(examples, tokenizer, prompts, roomy, tmp_path))

    first = tokenized(CHAT, example(0), example(1))
    # Another arm repeats and weighs them in its own way.
    weighted = tokenized(CHAT, example(0, weight=3.0), example(1, repeats=2))
    assert len(calls) == 2
    assert weighted == [replace(first[0], weight=3.0), first[1]]
    # Other prompts, texts or system prompts have tokens of their own.
    tokenized(ALPACA, example(0), example(1))
    tokenized(CHAT, example(0), example(2))
    tokenized(CHAT, example(0), replace(example(1), system="Rhyme."))
    assert len(calls) == 8


def test_an_error_of_the_chat_template_is_not_wrapped(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="the model has no chat template"):
        tokenize_examples([example(0)], tokenizer, CHAT, settings(), tmp_path)
    assert len(tokenize_examples([], tokenizer, CHAT, settings(), tmp_path)) == 0
