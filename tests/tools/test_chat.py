"""The chat in the terminal, with a model that knows the answer to one question."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Turn
from stages.lib.params.load import load_params
from stages.lib.prompts.templates import question_prompt, user_message
from tests.conftest import REPOSITORY, TAUGHT
from tools import chat
from tools.demo import answer
from tools.demo.problems import QUESTION

# With the tests of the demo, which need the same model.
pytestmark = pytest.mark.xdist_group("tests/tools/demo")

SPEED = r"first token [0-9.]+ s, [0-9.]+ tokens/s, \d+ tokens, [0-9.]+ MB"


@pytest.fixture
def with_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: Path) -> None:
    """Enter a folder with a model that knows the answer."""
    shutil.copytree(taught, tmp_path / MODELS / "taught")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def conversation(*lines: str) -> str:
    """Return what is written of a conversation."""
    written: list[str] = []
    chat.converse("taught", lines, written.append, load_params())
    return "".join(written)


@pytest.mark.usefixtures("with_model")
def test_an_answer_is_written_as_it_grows_with_its_speed() -> None:
    written = conversation("\n", f"{QUESTION}\n")
    assert re.fullmatch(rf"{re.escape(TAUGHT['cot'])}\n\[Done; {SPEED}\]\n", written)


@pytest.mark.usefixtures("with_model")
def test_a_program_runs_and_its_output_is_written() -> None:
    written = conversation("/pot", QUESTION)
    output = "\n[output] <img src=x onerror=hacked=1>\n6303\n[Done; "
    assert written.startswith(TAUGHT["pot"] + output)


@pytest.mark.usefixtures("with_model")
def test_earlier_turns_stand_in_the_prompt_until_they_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[Turn]] = []

    def noting(*arguments: Any) -> tuple[int, ...]:
        asked.append(list(arguments[3]))
        return question_prompt(*arguments)

    monkeypatch.setattr(answer, "question_prompt", noting)
    params = load_params()
    params = params.model_copy(update={"demo": params.demo.model_copy(update={"max_tokens": 3})})
    lines = (QUESTION, "/pot", "And now?", "/new", "/cot", "Why?")
    written: list[str] = []
    chat.converse("taught", lines, written.append, params)
    first, second, third = asked
    assert first == third == []
    assert second == [Turn(user_message(QUESTION, "cot"), "<sc")]
    assert "".join(written).count("[Cut at the limit of 3 tokens; ") == 3


@pytest.mark.usefixtures("with_model")
def test_a_question_that_failed_is_no_turn() -> None:
    written = conversation("x" * 3000, QUESTION)
    failed, answered = written.split("logs/); ]\n")
    assert failed.startswith("\n[Failed: the prompt has ")
    assert answered.startswith(TAUGHT["cot"])  # as without a turn before it


@pytest.mark.usefixtures("with_model")
def test_the_command_reads_questions_until_the_input_ends() -> None:
    def run(model: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tools.chat", model],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
            input=f"{QUESTION}\n",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    ended = run("taught")
    assert ended.returncode == 0
    assert re.fullmatch(rf"> {re.escape(TAUGHT['cot'])}\n\[Done; {SPEED}\]\n> \n", ended.stderr), (
        ended.stderr
    )
    ended = run("gone")
    message = "chat-gone: data/models/gone: no model here; `make repro` trains the default ones\n"
    assert (ended.returncode, ended.stderr) == (1, message)
