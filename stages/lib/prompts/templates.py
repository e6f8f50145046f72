"""Prompt templates: turn a problem into the text that a model reads.

The format ``chat`` uses the model's own chat template, ``alpaca`` the instruction format of Alpaca
and MathInstruct, and any other name the chat template of that name in ``conf/prompts/``. In all of
them in-context examples come first, and the response ends with the end-of-turn token, which is
supervised in training.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import cast

from transformers import PreTrainedTokenizerBase

from stages.lib.core.paths import TEMPLATES
from stages.lib.core.schema import Problem, Prompting, Turn
from stages.lib.params.data import BUILT_IN, Prompts
from stages.lib.prompts.choices import show_choices

POT_CUE = " Let's write a program."

ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)


def user_message(question: str, prompting: Prompting) -> str:
    """Return the user's message: the question, and for ``pot`` the cue for a program."""
    return question + POT_CUE if prompting == "pot" else question


def model_response(problem: Problem, prompting: Prompting) -> str:
    """Return the response to train on: the worked solution, or the program in a code fence.

    It is empty if the problem has none.
    """
    if prompting == "pot":
        return f"```python\n{problem.program}\n```" if problem.program else ""
    return problem.solution


def as_turn(problem: Problem, prompting: Prompting) -> Turn:
    """Return a problem as a turn: the user's message and the model's response."""
    return Turn(user_message(problem.question, prompting), model_response(problem, prompting))


def closest_option_question(answer: str, choices: Sequence[str]) -> str:
    """Return the SDAT authors' follow-up question for an answer that matches no option."""
    return f"Please find the closest option to {answer}. The options are {show_choices(choices)}"


def chat_template(tokenizer: PreTrainedTokenizerBase, settings: Prompts) -> str:
    """Return the Jinja template of a format: the model's own for ``chat``, else that of a file.

    Raises ValueError for ``chat`` and a model without a template.
    """
    if settings.format != "chat":
        return _read_template(settings)
    if tokenizer.chat_template is None:
        raise ValueError(
            "prompts.format: 'chat': the model has no chat template: expected 'alpaca', or a "
            f"template of {TEMPLATES}"
        )
    return tokenizer.get_chat_template()


def with_template(tokenizer: PreTrainedTokenizerBase, settings: Prompts) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the template of a file as its own, to save with a trained model."""
    if settings.format not in BUILT_IN:
        tokenizer.chat_template = _read_template(settings)
    return tokenizer


def describe_prompts(settings: Prompts) -> str:
    """Return all that prompts depend on beside the tokenizer, for keys of caches."""
    text = "" if settings.format in BUILT_IN else _read_template(settings)
    return repr(settings) + text


def prompt_text(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    question: str,
    examples: Sequence[Turn] = (),
) -> str:
    """Return the prompt, which ends where the model's response begins."""
    if settings.format == "alpaca":
        parts = [
            f"{_alpaca_question(example.question)}{example.response}\n\n" for example in examples
        ]
        return "".join([ALPACA_PREAMBLE, *parts, _alpaca_question(question)])
    return _chat_text(tokenizer, settings, [*examples, Turn(question, "")])


def prompt_response_pairs(
    tokenizer: PreTrainedTokenizerBase, settings: Prompts, turns: Sequence[Turn], *, system: str
) -> list[tuple[str, str]]:
    """Return, for each turn, the unsupervised text before its response and the supervised text.

    The supervised text is the response with the end-of-turn token. The text before a later response
    does not repeat earlier turns: all texts together are the whole conversation. A ``system`` that
    is not empty replaces the run's system prompt, or Alpaca's preamble. Raises ValueError for a
    chat template that has no assistant's turn, or that changes earlier turns when others follow.
    """
    if settings.format == "alpaca":
        end = cast(str, tokenizer.eos_token)
        starts = [f"{system}\n\n" if system else ALPACA_PREAMBLE, *["\n\n"] * (len(turns) - 1)]
        return [
            (start + _alpaca_question(turn.question), turn.response + end)
            for start, turn in zip(starts, turns, strict=True)
        ]
    if system:
        settings = settings.model_copy(update={"system": system})
    pairs = []
    earlier = ""
    for number, turn in enumerate(turns):
        # A chat template renders a whole conversation only, so a response is the difference
        # between the conversation up to its prompt and the conversation up to its end.
        before = _chat_text(tokenizer, settings, [*turns[:number], Turn(turn.question, "")])
        whole = _chat_text(tokenizer, settings, turns[: number + 1])
        response = whole.removeprefix(before).rstrip()
        if not whole.startswith(before) or turn.response.strip() not in response:
            raise ValueError(
                "chat template: it does not show an assistant's turn after its own generation "
                "prompt; expected one that does, or prompts.format: alpaca"
            )
        if not before.startswith(earlier):
            raise ValueError(
                "chat template: it changes earlier turns when another follows; expected one that "
                "does not, or prompts.format: alpaca"
            )
        pairs.append((before.removeprefix(earlier), response))
        earlier = before + response
    return pairs


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, settings: Prompts, prompts: list[str]
) -> list[list[int]]:
    """Return the token ids of prompts."""
    # A chat template writes its own special tokens.
    ids = tokenizer(prompts, add_special_tokens=settings.format == "alpaca")["input_ids"]
    return cast(list[list[int]], ids)


def problem_prompt(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    problem: Problem,
    prompting: Prompting,
    demonstrations: Sequence[Problem],
) -> tuple[int, ...]:
    """Return the token ids of a problem's prompt, with demonstrations before the problem."""
    examples = [as_turn(example, prompting) for example in demonstrations]
    return question_prompt(tokenizer, settings, user_message(problem.question, prompting), examples)


def question_prompt(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    question: str,
    examples: Sequence[Turn] = (),
) -> tuple[int, ...]:
    """Return the token ids of a question's prompt, with examples before the question."""
    text = prompt_text(tokenizer, settings, question, examples)
    return tuple(encode_prompts(tokenizer, settings, [text])[0])


def _alpaca_question(question: str) -> str:
    return f"### Instruction:\n{question}\n\n### Response:\n"


def _chat_text(tokenizer: PreTrainedTokenizerBase, settings: Prompts, turns: Sequence[Turn]) -> str:
    """Return turns as the chat template writes them, up to the last one's response if it has none.

    Raises ValueError as ``chat_template`` does.
    """
    messages = [{"role": "system", "content": settings.system}] if settings.system else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        if turn.response:
            messages.append({"role": "assistant", "content": turn.response})
    text = tokenizer.apply_chat_template(
        messages,
        chat_template=chat_template(tokenizer, settings),
        tokenize=False,
        add_generation_prompt=not turns[-1].response,
    )
    return cast(str, text)


def _read_template(settings: Prompts) -> str:
    return _read_text((TEMPLATES / f"{settings.format}.jinja").absolute())


@cache
def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
