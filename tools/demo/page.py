"""The page of the demo.

Texts of models and users reach the page as values, which a script puts into the document as
text. Nothing is asked of another host: fonts are the system's, scripts Gradio's own.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr  # noqa: E402
from gradio.themes import Base  # noqa: E402

from stages.lib.core.paths import MODELS  # noqa: E402
from stages.lib.core.schema import Prompting  # noqa: E402
from stages.lib.models.loading import weight_bytes  # noqa: E402
from stages.lib.params.root import Params  # noqa: E402
from tools.demo.answer import (
    Panel,
    answer,  # noqa: E402
)
from tools.demo.problems import (
    GradableProblem,
    examples,
    found_models,  # noqa: E402
    validation_error,
)
from tools.demo.streaming import (
    ModelCache,
    side_by_side,  # noqa: E402
)

EVERY_S = 0.1
PLACES = ("first", "second")
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
STOPPED = "Stopped"
# Stopping ends in a failure too, which may come before the page shows that it stopped, and
# after late words of an answer: a note of the page's own tells one failure from another.
BEGIN = "(...given) => { window.stopped = false; return given; }"
_ALL_STOPPED = f"views.map((view) => view && {{ ...view, state: '{STOPPED}' }})"
STOP = f"(...views) => {{ window.stopped = true; return {_ALL_STOPPED}; }}"
FAILED = f"(...views) => window.stopped ? {_ALL_STOPPED} : views"
TITLE = "Uphill: one question, two models"
HEADING = f"""
<h1>{TITLE}</h1>
<p>Greedy answers without examples in the prompt, as in the evaluation; both at once on this CPU.
<kbd>Enter</kbd> asks, <kbd>Shift</kbd>+<kbd>Enter</kbd> begins a line, <kbd>Esc</kbd> stops.</p>
"""

View = dict[str, Any] | None
Choice = tuple[str, str, str]
"""A group, "" for none, what is shown, and the value."""

PROMPTINGS: list[Choice] = [
    ("", "reasoning (CoT)", "cot"),
    ("", "a program, which is run (PoT)", "pot"),
]


@dataclass(frozen=True)
class _Parts:
    """What the page is made of, and what takes part in asking."""

    models: list[gr.HTML]
    prompting: gr.HTML
    example: gr.HTML
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    notice: gr.HTML
    sides: list[gr.HTML]


def build(wanted: Params, known: Mapping[str, GradableProblem]) -> gr.Blocks:
    """Return the page; ``known`` are the problems that can be graded, by question."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        parts = _lay_out(wanted, known)
        page.load(lambda: _reloaded(wanted), outputs=parts.models, queue=False, **PRIVATE)
        _connect(parts, wanted, known)
    return page.queue(max_size=wanted.demo.queue)


def look() -> dict[str, Any]:
    """Return how the page looks and behaves beyond its parts, for ``gr.mount_gradio_app``."""
    return {
        "theme": Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        "css": _read("page.css"),
        "js": _read("page.js"),
        "footer_links": [],
    }


def _lay_out(wanted: Params, known: Mapping[str, GradableProblem]) -> _Parts:
    gr.HTML(HEADING, elem_id="heading", js_on_load=None)
    with gr.Row(elem_id="choices"):
        choices = _models(wanted)
        models = [
            _select(f"{place.title()} model", place, choices, value)
            for place, (_, _, value) in zip(PLACES, choices * len(PLACES), strict=False)
        ]
        prompting = _select("The answer is", "prompting", PROMPTINGS, "cot")
        example = _select("Example problems", "example", _problems(wanted, known), "")
    question = gr.Textbox(
        label="Question", lines=1, max_lines=8, autofocus=True, elem_id="question"
    )
    with gr.Row():
        ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=100)
        stop = gr.Button("Stop", elem_id="stop", min_width=100)
    notice = _own("notice", "notice")
    with gr.Row(elem_id="sides"):
        sides = [_own("side", f"{place}-answer") for place in PLACES]
    return _Parts(models, prompting, example, question, ask, stop, notice, sides)


def _connect(parts: _Parts, wanted: Params, known: Mapping[str, GradableProblem]) -> None:
    kept = ModelCache(wanted.demo.models_in_memory)

    def check(question: str, *names: str) -> tuple[Any, ...]:
        wrong = validation_error(question.strip(), wanted.demo.max_characters)
        if wrong:
            return wrong, gr.skip(), gr.skip()
        return "", *(asdict(Panel(name, "Waiting")) for name in names)

    def ask(question: str, one: str, other: str, prompting: Prompting) -> Iterator[Sequence[Any]]:
        question = question.strip()
        if validation_error(question, wanted.demo.max_characters):
            yield gr.skip(), gr.skip()
            return
        problem = known.get(question)
        sources = [
            answer(name, question, prompting, problem, kept, wanted) for name in (one, other)
        ]
        with closing(side_by_side(sources, EVERY_S)) as answers:
            for sides in answers:
                yield [side and asdict(side) for side in sides]

    shown = [parts.notice, *parts.sides]
    inputs = [parts.question, *parts.models]
    asked = gr.on(
        [parts.question.submit, parts.ask.click],
        check,
        inputs,
        shown,
        queue=False,
        js=BEGIN,
        **PRIVATE,
    ).then(
        ask,
        [*inputs, parts.prompting],
        parts.sides,
        concurrency_limit=1,
        trigger_mode="once",
        show_progress="hidden",
        **PRIVATE,
    )
    asked.failure(_failed, parts.sides, shown, queue=False, js=FAILED, **PRIVATE)
    parts.stop.click(None, parts.sides, parts.sides, js=STOP, cancels=[asked], **PRIVATE)
    parts.example.change(None, parts.example, parts.question, js="(chosen) => chosen", **PRIVATE)


def _own(files: str, name: str, value: Any = None, **properties: Any) -> gr.HTML:
    """Return a part of our own: a fixed frame, and a script that puts its value in as text."""
    return gr.HTML(
        value,
        html_template=_read(f"{files}.html"),
        js_on_load=_read(f"{files}.js"),
        apply_default_css=False,
        elem_id=name,
        **properties,
    )


def _select(title: str, name: str, choices: list[Choice], value: str) -> gr.HTML:
    """Return the browser's own select.

    Gradio's list stays open when Tab leaves it, and arrow keys do not reach its radio buttons.
    """
    return _own("select", name, value, title=title, choices=choices)


def _models(wanted: Params) -> list[Choice]:
    return [
        ("", f"{name}, {weight_bytes(MODELS / name) / 1e6:,.0f} MB", name)
        for name in found_models(wanted.evaluate.models)
    ]


def _problems(wanted: Params, known: Mapping[str, GradableProblem]) -> list[Choice]:
    offered = examples(known, wanted.demo.examples)
    first = "Choose one" if len(known) > 1 else "More after `make repro`"
    return [("", first, ""), *((benchmark, text, text) for benchmark, text in offered)]


def _reloaded(wanted: Params) -> list[gr.HTML]:
    return [gr.HTML(choices=_models(wanted)) for _ in PLACES]


def _failed(*views: View) -> tuple[Any, ...]:
    if all(view and view["state"] == STOPPED for view in views):
        return gr.skip(), *views
    said = "No answer. Too many questions are waiting (try again), or logs/demo.log has an error."
    return said, *(view and {**view, "state": "Failed"} for view in views)


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
