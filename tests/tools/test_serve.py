"""The OpenAI-compatible server: prompts as in training, and a real request."""

import copy
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from openai import AuthenticationError, OpenAI
from transformers import PreTrainedTokenizerFast

from stages.lib.core.paths import MODELS
from stages.lib.core.schema import Turn
from stages.lib.params.data import Prompts
from stages.lib.prompts.templates import encode_prompts, prompt_text
from tests.conftest import REPOSITORY, TAUGHT, skip_without_engine
from tools import serve
from tools.demo.problems import QUESTION

# With the tests of the demo, which need the same model.
pytestmark = pytest.mark.xdist_group("tests/tools/demo")

ANSWERED = [Turn("What is 1 + 1?", 'It\'s "2".'), Turn("And 2 + 2?", "4")]
SYSTEM = 'Solve it; don\'t "guess".\n{{ x }}'
FORMATS = [
    Prompts(format="chat", system="", stop=[]),
    Prompts(format="chat", system=SYSTEM, stop=[]),
    Prompts(format="alpaca", system="", stop=[]),
    Prompts(format="plain", system=SYSTEM, stop=[]),
]


def messages(*turns: Turn, system: str = "") -> list[dict[str, str]]:
    """Return a conversation as a client sends it."""
    found = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        found.append({"role": "user", "content": turn.question})
        if turn.response:
            found.append({"role": "assistant", "content": turn.response})
    return found


@pytest.mark.parametrize("prompts", FORMATS, ids=["chat", "chat-system", "alpaca", "plain"])
@pytest.mark.parametrize("answered", [[], ANSWERED])
def test_messages_become_the_prompts_of_training(
    tokenizer: PreTrainedTokenizerFast, prompts: Prompts, answered: list[Turn]
) -> None:
    template = serve.server_template(tokenizer, prompts)
    found = tokenizer.apply_chat_template(
        messages(*answered, Turn(QUESTION, "")),
        chat_template=template,
        add_generation_prompt=True,
        return_dict=False,
    )
    text = prompt_text(tokenizer, prompts, QUESTION, answered)
    assert found == encode_prompts(tokenizer, prompts, [text])[0]


def test_a_client_may_send_its_own_system_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = []
    for prompts in FORMATS:
        template = serve.server_template(tokenizer, prompts)
        conversation = messages(Turn("Why?", ""), system="Be brief.")
        text = tokenizer.apply_chat_template(
            conversation, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        texts.append(str(text))
    assert texts[0] == texts[1]
    assert texts[1].count("Be brief.") == 1 and SYSTEM not in texts[1]
    assert texts[2] == "Be brief.\n\n### Instruction:\nWhy?\n\n### Response:\n"
    assert texts[3] == "Be brief.\n\nQuestion: Why?\nAnswer:"


def test_a_model_without_a_template_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(ValueError, match=r"^prompts\.format: 'chat': the model has no chat temp"):
        serve.server_template(bare, FORMATS[0])
    assert serve.server_template(bare, FORMATS[2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taught: Path) -> Path:
    """Enter a folder with parameters and a model that knows an answer."""
    shutil.copytree(taught, tmp_path / MODELS / "taught")
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_errors_come_before_the_engine() -> None:
    with pytest.raises(ValueError, match=r"^data/models/gone: no model here; "):
        serve.main("gone", 0, [])
    with socket.create_server((serve.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        message = rf"^--port: {port}: Address already in use: expected a free port of 127\.0\.0\.1$"
        with pytest.raises(OSError, match=message):
            serve.main("taught", port, [])


def start(port: int, options: str) -> subprocess.Popen[str]:
    # Shells start background processes, and so tests in the background, with SIGINT ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "tools.serve", "taught"]
    return subprocess.Popen(
        [*command, f"--port={port}", f"--options={options}"],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path]),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_openai_client_gets_the_answer_of_the_model(folder: Path) -> None:
    skip_without_engine()
    with socket.create_server((serve.HOST, 0)) as free:
        port = free.getsockname()[1]
    server = start(port, "--api-key secret")
    assert server.stderr is not None
    line = server.stderr.readline()
    url = f"http://127.0.0.1:{port}/v1"
    assert line == f"serve: {url} serves taught; press Ctrl-C to stop\n"
    with pytest.raises(AuthenticationError):
        OpenAI(base_url=url, api_key="other").models.list()
    client = OpenAI(base_url=url, api_key="secret")
    assert [model.id for model in client.models.list()] == ["taught"]
    completion = client.chat.completions.create(
        model="taught",
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=200,
    )
    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == (TAUGHT["cot"], "stop")
    server.send_signal(signal.SIGINT)
    _, rest = server.communicate(timeout=120)
    assert (rest, server.returncode) == ("serve: stopped\n", 0)


@pytest.mark.usefixtures("folder")
def test_a_server_that_ends_by_itself_names_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(len(sys.argv) - 1)"]
    monkeypatch.setattr(serve, "server_command", lambda *_: command)
    serve.main("taught", 0, [])
    with pytest.raises(ChildProcessError, match=r"^vLLM ended: see logs/serve-taught\.log$"):
        serve.main("taught", 0, ["--mistake"])
