"""Chat with a model in the terminal, on the CPU: a command, not a stage.

Each line is a question. Earlier questions and answers stay in the prompt, as turns. ``/pot`` asks
for a program from then on, which runs in the sandbox, ``/cot`` for reasoning, and ``/new``
forgets the conversation; Ctrl-D ends it. Decoding is greedy, as in evaluation.

    python -m tools.chat MODEL
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress

from stages.lib.core.schema import Prompting, Turn
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.prompts.templates import user_message
from stages.lib.runtime import console
from stages.lib.runtime.malloc import keep_freed_memory
from tools.demo.answer import Panel, answer
from tools.demo.models import ModelCache
from tools.demo.problems import model_folder

PROMPT = "> "


def converse(
    model: str, lines: Iterable[str], write: Callable[[str], object], params: Params
) -> None:
    """Answer the questions of a conversation, writing each answer as it grows."""
    cache = ModelCache(1)
    turns: list[Turn] = []
    prompting: Prompting = "cot"
    for line in lines:
        match line.strip():
            case "":
                continue
            case "/new":
                turns = []
            case "/cot":
                prompting = "cot"
            case "/pot":
                prompting = "pot"
            case question:
                response = _write_answer(model, question, prompting, turns, write, cache, params)
                if response:  # none after an error
                    turns.append(Turn(user_message(question, prompting), response))


def _write_answer(
    model: str,
    question: str,
    prompting: Prompting,
    turns: list[Turn],
    write: Callable[[str], object],
    cache: ModelCache,
    params: Params,
) -> str:
    """Write an answer, the output of its program and its speed; return its text."""
    text, panel = "", Panel("")
    for panel in answer(model, question, prompting, None, cache, params, lambda: turns):
        # At the end a bare program is shown as a program, and no longer as text.
        if panel.text.startswith(text):
            write(panel.text[len(text) :])
            text = panel.text
    output = f"\n[output] {panel.output}" if panel.output else ""
    write(f"{output}\n[{panel.status}; {panel.measurements}]\n")
    return panel.response


def main(model: str) -> None:
    """Chat until the input ends."""
    params = load_params()
    model_folder(model)
    keep_freed_memory()
    with suppress(KeyboardInterrupt):
        converse(model, _read_lines(), console.write, params)


def _read_lines() -> Iterable[str]:
    while True:
        console.write(PROMPT)
        line = sys.stdin.readline()
        if not line:
            console.write("\n")
            return
        yield line


if __name__ == "__main__":
    console.run_stage("chat", main, item="model", timed=False)
