"""Every prompt template: from a problem to the text that a model reads.

Two forms: ``chat`` uses the model's own chat template, ``alpaca`` the instruction
format of Alpaca and MathInstruct. In both, worked examples come first and the
response ends with the end-of-turn token, which training supervises.
"""

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Problem, Prompting, Turn
from stages.lib.params.data import Prompts
from stages.lib.prompts.choices import show_choices

POT_CUE = " Let's write a program."

ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
)


def ask(question: str, prompting: Prompting) -> str:
    """Return what the user says: the question, with the cue for a program if one is wanted."""
    return question + POT_CUE if prompting == "pot" else question


def respond(problem: Problem, prompting: Prompting) -> str:
    """Return the response to learn from: the worked solution, or the program in a fence.

    Empty where the problem has none.
    """
    if prompting == "pot":
        return f"```python\n{problem.program}\n```" if problem.program else ""
    return problem.solution


def turn(problem: Problem, prompting: Prompting) -> Turn:
    """Return a problem as a question and its model response."""
    return Turn(ask(problem.question, prompting), respond(problem, prompting))


def closest_option(said: str, choices: Sequence[str]) -> str:
    """Return the SDAT authors' second question, for an answer that is no option."""
    return f"Please find the closest option to {said}. The options are {show_choices(choices)}"


def prompt_text(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    question: str,
    examples: Sequence[Turn] = (),
) -> str:
    """Return the text up to where the model's response begins."""
    if settings.format == "alpaca":
        shown = "".join(f"{_alpaca(e.question)}{e.response}\n\n" for e in examples)
        return ALPACA + shown + _alpaca(question)
    return _chat(tokenizer, settings, [*examples, Turn(question, "")])


def pieces(
    tokenizer: PreTrainedTokenizerBase, settings: Prompts, turns: Sequence[Turn], *, system: str
) -> list[tuple[str, str]]:
    """Return, turn by turn, the text before its response, and the text to learn.

    To learn is the response with the end-of-turn token. What was learned before is not
    repeated in the text before a later response. ``system``, if it says anything, takes the
    place of the usual system prompt, or of Alpaca's preamble. Raises ValueError for a chat template
    without an assistant's turn, or one that changes earlier turns when others follow.
    """
    if settings.format == "alpaca":
        end = cast(str, tokenizer.eos_token)
        starts = [f"{system}\n\n" if system else ALPACA, *["\n\n"] * (len(turns) - 1)]
        return [
            (start + _alpaca(one.question), one.response + end)
            for start, one in zip(starts, turns, strict=True)
        ]
    if system:
        settings = settings.model_copy(update={"system": system})
    found = []
    done = ""
    for number, one in enumerate(turns):
        before = _chat(tokenizer, settings, [*turns[:number], Turn(one.question, "")])
        whole = _chat(tokenizer, settings, turns[: number + 1])
        learned = whole.removeprefix(before).rstrip()
        if not whole.startswith(before) or one.response.strip() not in learned:
            raise ValueError(
                "chat template: it does not show an assistant's turn after its own generation "
                "prompt; expected one that does, or prompts.format: alpaca"
            )
        if not before.startswith(done):
            raise ValueError(
                "chat template: it changes earlier turns when another follows; expected one that "
                "does not, or prompts.format: alpaca"
            )
        found.append((before.removeprefix(done), learned))
        done = before + learned
    return found


def encode(tokenizer: PreTrainedTokenizerBase, settings: Prompts, prompt: str) -> list[int]:
    """Return a prompt's token ids; a chat template writes its own special tokens."""
    ids = tokenizer(prompt, add_special_tokens=settings.format == "alpaca")["input_ids"]
    return cast(list[int], ids)


def problem_prompt(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    problem: Problem,
    prompting: Prompting,
    demonstrations: Sequence[Problem],
) -> tuple[int, ...]:
    """Return the token ids that a model gets to answer a problem."""
    shown = [turn(example, prompting) for example in demonstrations]
    return question_prompt(tokenizer, settings, ask(problem.question, prompting), shown)


def question_prompt(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    question: str,
    examples: Sequence[Turn] = (),
) -> tuple[int, ...]:
    """Return the token ids of a question and the worked examples before it."""
    text = prompt_text(tokenizer, settings, question, examples)
    return tuple(encode(tokenizer, settings, text))


def _alpaca(question: str) -> str:
    return f"### Instruction:\n{question}\n\n### Response:\n"


def _chat(tokenizer: PreTrainedTokenizerBase, settings: Prompts, turns: Sequence[Turn]) -> str:
    if tokenizer.chat_template is None:
        raise ValueError("prompts.format: 'chat': the model has no chat template; use 'alpaca'")
    messages = [{"role": "system", "content": settings.system}] if settings.system else []
    for shown in turns:
        messages.append({"role": "user", "content": shown.question})
        if shown.response:
            messages.append({"role": "assistant", "content": shown.response})
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=not turns[-1].response
    )
    return cast(str, text)
