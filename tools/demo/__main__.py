"""Ask two models the same question on a web page, on the CPU: a command, not a stage.

Serves the page on ``http://127.0.0.1:<demo.port>`` until it is interrupted. Reads the models
in ``data/models/``, those that are there, and for example problems and verdicts the
benchmarks in ``data/problems/eval/``. Writes nothing but its log.

    python -m tools.demo
"""

from contextlib import suppress

import gradio
import torch

from stages.lib.core.paths import MODELS
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from stages.lib.runtime.malloc import keep_freed_memory
from tools.demo import server
from tools.demo.page import build, look
from tools.demo.problems import found_models, known_problems


def main() -> None:
    """Serve the page."""
    wanted = load_params()
    names = found_models(wanted.evaluate.models)
    if not names:
        raise ValueError(f"{MODELS}: no model there: `make repro` makes the default ones")
    known = known_problems(wanted)
    bound, address = server.listen(wanted.demo.port)
    keep_freed_memory()
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # two models answer at once
    app = server.application()
    page = build(wanted, known)
    gradio.mount_gradio_app(app, page, path="/", run_history=False, **look())
    console.log_line(f"demo: {address} has {', '.join(names)}; Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        server.serve(app, bound)
    console.log_line("demo: ended")


if __name__ == "__main__":
    console.run_stage("demo", main, timed=False)
