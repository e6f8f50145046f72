"""Prompt texts, letter by letter."""

import copy

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Problem, Turn
from stages.lib.params.data import Prompts
from stages.lib.prompts.few_shot import choose_demonstrations
from stages.lib.prompts.templates import (
    describe_prompts,
    encode_prompts,
    model_response,
    problem_prompt,
    prompt_response_pairs,
    prompt_text,
    user_message,
    with_template,
)
from tests.conftest import END, byte_tokenizer
from tests.rows import make_problem

CHAT = Prompts(format="chat", system="Solve.", stop=[])
ALPACA = Prompts(format="alpaca", system="Solve.", stop=[])
PLAIN = Prompts(format="plain", system="Solve.", stop=[])
SHOWN = Turn("1 + 1?", "2.")


def problem(source: str, question: str = "1 + 1?") -> Problem:
    return make_problem(
        question + source,
        source=source,
        question=question,
        answer="2",
        solution="The answer is 2.",
        program="print(2)",
    )


def test_special_tokens_come_from_the_chat_template_alone() -> None:
    tokenizer = byte_tokenizer()
    end = tokenizer.vocab[END]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, end)]
    )
    assert encode_prompts(tokenizer, ALPACA, ["a"])[0][0] == end
    assert end not in encode_prompts(tokenizer, CHAT, ["a"])[0]


def test_a_chat_prompt_ends_where_the_answer_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    assert prompt_text(tokenizer, CHAT, "2 + 2?", [SHOWN]) == (
        f"<|system|>Solve.{END}<|user|>1 + 1?{END}<|assistant|>2.{END}"
        f"<|user|>2 + 2?{END}<|assistant|>"
    )
    assert prompt_response_pairs(tokenizer, CHAT, [SHOWN], system="") == [
        (f"<|system|>Solve.{END}<|user|>1 + 1?{END}<|assistant|>", f"2.{END}")
    ]


def test_an_alpaca_prompt_ends_where_the_answer_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    assert prompt_text(tokenizer, ALPACA, "2 + 2?", [SHOWN]) == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n1 + 1?\n\n### Response:\n2.\n\n"
        "### Instruction:\n2 + 2?\n\n### Response:\n"
    )
    assert prompt_response_pairs(tokenizer, ALPACA, [SHOWN], system="")[0][1] == f"2.{END}"


def test_a_template_of_a_file_stands_in_for_the_models_own(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    assert prompt_text(bare, PLAIN, "2 + 2?", [SHOWN]) == (
        f"Solve.\n\nQuestion: 1 + 1?\nAnswer: 2.{END}\n\nQuestion: 2 + 2?\nAnswer:"
    )
    turns = [SHOWN, Turn("2 + 2?", "4.")]
    assert prompt_response_pairs(bare, PLAIN, turns, system="") == [
        ("Solve.\n\nQuestion: 1 + 1?\nAnswer:", f" 2.{END}"),
        ("\n\nQuestion: 2 + 2?\nAnswer:", f" 4.{END}"),
    ]
    # A trained model brings it along, and a cache of tokens knows its text.
    assert "Question: " in str(with_template(bare, PLAIN).chat_template)
    assert "Question: " in describe_prompts(PLAIN)
    own = tokenizer.chat_template
    assert with_template(tokenizer, CHAT).chat_template == own


def test_of_several_templates_of_a_model_the_default_is_used(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    several = copy.deepcopy(tokenizer)
    several.chat_template = {"default": tokenizer.chat_template, "tool_use": "tools"}  # type: ignore[assignment]
    assert prompt_text(several, CHAT, "2 + 2?") == prompt_text(tokenizer, CHAT, "2 + 2?")


def test_a_template_that_is_missing_is_named() -> None:
    message = "expected chat, alpaca or the name of a template, but conf/prompts/gone.jinja is mis"
    with pytest.raises(ValueError, match=message):
        Prompts(format="gone", system="", stop=[])


def test_a_program_is_asked_for_and_answered_in_a_fence() -> None:
    assert user_message("1 + 1?", "pot") == "1 + 1? Let's write a program."
    assert user_message("1 + 1?", "cot") == "1 + 1?"
    assert model_response(problem("s"), "pot") == "```python\nprint(2)\n```"
    assert model_response(problem("s"), "cot") == "The answer is 2."


def test_a_prompt_holds_its_demonstrations(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = problem_prompt(tokenizer, CHAT, problem("s", "9?"), "pot", [problem("s", "8?")])
    text = tokenizer.decode(list(ids))
    assert text.index("8? Let's write") < text.index("print(2)") < text.index("9? Let's write")


def test_demonstrations_come_from_the_same_source() -> None:
    pool = [problem(source, f"{i}?") for source in ("a", "b") for i in range(3)]
    assert choose_demonstrations(problem("b"), pool, 2, "cot") == pool[3:5]


def test_a_source_without_demonstrations_gets_some_from_sources_spread_evenly() -> None:
    pool = [problem(source, f"{i}?") for source in "abcd" for i in range(2)]
    assert [p.source for p in choose_demonstrations(problem("z"), pool, 2, "cot")] == ["a", "c"]


def test_too_few_demonstrations_are_an_error() -> None:
    with pytest.raises(ValueError, match="prepare.demonstrations: 1 for source 'a'"):
        choose_demonstrations(problem("a"), [problem("a")], 2, "cot")


def test_no_demonstrations_are_needed_for_none() -> None:
    assert choose_demonstrations(problem("z"), [problem("a")], 0, "cot") == []


def test_a_model_without_a_chat_template_is_told_to_use_alpaca(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="no chat template: expected 'alpaca'"):
        prompt_text(tokenizer, CHAT, "1?")


def test_a_chat_template_without_an_assistant_turn_is_refused(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    restated = "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}"
    restated += str(tokenizer.chat_template)
    monkeypatch.setattr(tokenizer, "chat_template", restated)
    with pytest.raises(ValueError, match="chat template: it changes earlier turns"):
        prompt_response_pairs(tokenizer, CHAT, [SHOWN, SHOWN], system="")
    only_users = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", only_users)
    with pytest.raises(ValueError, match="chat template: it does not show an assistant's turn"):
        prompt_response_pairs(tokenizer, CHAT, [SHOWN], system="")
