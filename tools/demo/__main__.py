"""Let two models answer the same question on a web page, on the CPU: a command, not a stage.

Serves the page on ``http://127.0.0.1:<demo.port>`` until it is interrupted. Reads the models
in ``data/models/`` and, for example problems and grades, the benchmarks in
``data/problems/eval/``. Writes nothing but its log.

    python -m tools.demo
"""

from contextlib import suppress

import torch
from gradio import mount_gradio_app

from stages.lib.core.paths import MODELS
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from stages.lib.runtime.malloc import keep_freed_memory
from tools.demo import server
from tools.demo.page import STYLE, build_page
from tools.demo.problems import available_models, load_gradable_problems


def main() -> None:
    """Serve the page."""
    params = load_params()
    models = available_models(params.evaluate.models)
    if not models:
        raise ValueError(f"{MODELS}: no models here; `make repro` trains the default ones")
    page = build_page(params, models, load_gradable_problems(params))
    listening, address = server.listen(params.demo.port)
    keep_freed_memory()
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # two models answer at once
    app = server.create_app()
    # An exception's text may quote a model, and Gradio would show it as HTML: the log has it.
    mount_gradio_app(
        app, page, path="/", run_history=False, footer_links=[], show_error=False, **STYLE
    )
    console.log_line(f"demo: {address} serves {', '.join(models)}; press Ctrl-C to stop")
    with suppress(KeyboardInterrupt):
        server.serve(app, listening)
    console.log_line("demo: stopped")


if __name__ == "__main__":
    console.run_stage("demo", main, timed=False)
