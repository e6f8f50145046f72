"""The page of the demo, built of Gradio's components.

Texts of models and users are values of text and code boxes, which do not read them as markup.
Nothing is loaded from other hosts: fonts are the system's, scripts are Gradio's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.themes import Default

from stages.lib.core.schema import Prompting, Turn
from stages.lib.params.root import Params
from stages.lib.prompts.templates import user_message
from tools.demo.answer import UNFINISHED, Panel, answer, side_by_side
from tools.demo.models import ModelCache
from tools.demo.problems import GradableProblem, example_questions, worked_examples

TITLE = "Uphill: one question, two models"
INTRODUCTION = (
    f"# {TITLE}\nBoth models answer at the same time on this CPU, greedily as in the evaluation. "
    "Press Enter to ask, Shift+Enter for a new line."
)
STYLE: dict[str, Any] = {
    "theme": Default(
        primary_hue="indigo",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ),
    # Gradio paints a selected button white under the pointer, and its dot is white too.
    "css": "input:checked:hover { background-color: var(--color-accent) !important }",
}
EXAMPLES_PER_PAGE = 5
STOPPED = "Stopped"
SHOWN = ("status", "text", "program", "output", "grade", "measurements")
"""The fields of a panel that have a box, in order."""

Conversation = Mapping[str, Sequence[Turn]]
"""The questions to each model and its answers, by its name."""

Problems = Mapping[str, GradableProblem]
"""The problems that can be graded, by question."""


def build_page(params: Params, models: Sequence[str], problems: Problems) -> gr.Blocks:
    """Return the page, on which two of the models answer a question."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        question = gr.Textbox(label="Question", max_lines=8, autofocus=True)
        with gr.Accordion("Example problems", open=False):
            for benchmark, questions in example_questions(problems, params.demo.examples).items():
                gr.Examples(
                    questions, question, label=benchmark, examples_per_page=EXAMPLES_PER_PAGE
                )
        prompting = gr.Radio(
            [("reasoning (CoT)", "cot"), ("a program, which is run (PoT)", "pot")],
            value="cot",
            label="Answer with",
        )
        shots = gr.Slider(
            0,
            params.prepare.demonstrations or 1,
            value=0,
            step=1,
            label="Worked examples in the prompt",
            visible=params.prepare.demonstrations > 0,
        )
        keep = gr.Checkbox(label="Continue the conversation: earlier turns stay in the prompt")
        conversation = gr.State({})
        with gr.Row():
            ask = gr.Button("Ask", variant="primary", min_width=100)
            stop = gr.Button("Stop", min_width=100)
        with gr.Row():
            columns = [
                _add_column("First model", models, models[0]),
                _add_column("Second model", models, models[1 % len(models)]),
            ]
        boxes = [box for _, column_boxes in columns for box in column_boxes]
        statuses = [column_boxes[0] for _, column_boxes in columns]
        submission = gr.on(
            [question.submit, ask.click],
            _responder(params, problems),
            [question, prompting, shots, keep, conversation, *(model for model, _ in columns)],
            [conversation, *boxes],
            validator=_validator(params.demo.max_characters),
            show_progress_on=statuses,
            concurrency_limit=1,
            trigger_mode="once",
            api_visibility="private",
        )
        # The status is set after the cancellation: late words of an answer would overwrite it.
        cancelled = stop.click(None, cancels=[submission], queue=False, api_visibility="private")
        cancelled.then(_stop, statuses, statuses, queue=False, api_visibility="private")
    return page.queue(max_size=params.demo.queue)


def _add_column(
    label: str, models: Sequence[str], selected: str
) -> tuple[gr.Dropdown, list[Component]]:
    """Add the choice of a model, the boxes of ``SHOWN``, and one for the earlier turns."""
    hidden: dict[str, Any] = {"visible": False, "interactive": False}
    with gr.Column(elem_id=label.split()[0].lower(), min_width=320):
        model = gr.Dropdown(list(models), value=selected, label=label, filterable=False)
        boxes: list[Component] = [
            gr.Textbox("Waiting for a question", label="Status", interactive=False),
            gr.Textbox(label="Answer", lines=3, max_lines=24, **hidden),
            gr.Code(
                label="Program",
                language="python",
                lines=1,
                wrap_lines=True,
                buttons=["copy"],
                **hidden,
            ),
            gr.Textbox(label="Output of the program", max_lines=12, **hidden),
            gr.Textbox(label="Grade", **hidden),
            gr.Textbox(label="Speed and size", **hidden),
            gr.Textbox(label="Earlier turns", max_lines=12, **hidden),
        ]
    return model, boxes


def _responder(params: Params, problems: Problems) -> Callable[..., Iterator[list[Any]]]:
    """Build the handler that answers a question with two models and yields page updates."""
    cache = ModelCache(params.demo.models_in_memory)

    def respond(
        question: str,
        prompting: Prompting,
        shots: int,
        keep: bool,
        conversation: Conversation,
        *names: str,
    ) -> Iterator[list[Any]]:
        question = question.strip()
        reference = problems.get(question)
        earlier = {name: [*conversation.get(name, ())] if keep else [] for name in names}
        sources = [
            answer(
                *(name, question, prompting, reference, cache, params),
                turns=lambda name=name: [
                    *worked_examples(reference, prompting, shots),
                    *earlier[name],
                ],
            )
            for name in names
        ]
        panels: list[Panel] = []
        # Gradio closes this generator if the user stops it or leaves the page.
        with closing(side_by_side(sources)) as snapshots:
            for panels in snapshots:
                yield [conversation, *_updates(panels, names, earlier)]
        # An answer that failed is no turn.
        asked = user_message(question, prompting)
        said = {
            name: [Turn(asked, panel.response)] if panel.response else []
            for name, panel in zip(names, panels, strict=True)
        }
        kept = {name: earlier[name] + said[name] for name in names}
        yield [kept, *_updates(panels, names, earlier)]

    return respond


def _validator(max_characters: int) -> Callable[..., list[Any]]:
    """Build the handler that checks the length of a question before it is queued."""

    def validate(question: str, *others: Any) -> list[Any]:
        length = len(question.strip())
        message = ""
        if not length:
            message = "Write a question first."
        elif length > max_characters:
            message = f"The question has {length:,} characters; the limit is {max_characters:,}."
        return [gr.validate(not message, message), *(gr.validate(True, "") for _ in others)]

    return validate


def _updates(panels: Sequence[Panel], names: Sequence[str], earlier: Conversation) -> list[Any]:
    """Return the updates of all boxes: those of a model's panel and its earlier turns."""
    texts: list[str] = []
    for name, panel in zip(names, panels, strict=True):
        texts += [getattr(panel, field) for field in SHOWN]
        turns = [f"Question: {turn.question}\nAnswer: {turn.response}" for turn in earlier[name]]
        texts.append("\n\n".join(turns))
    return [gr.update(value=text, visible=bool(text)) for text in texts]


def _stop(*statuses: str) -> list[str]:
    return [STOPPED if status in UNFINISHED else status for status in statuses]
