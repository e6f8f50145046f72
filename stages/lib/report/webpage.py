"""The results as one self-contained HTML page: findings, figures, tables, generations.

What models wrote is untrusted text. It travels compressed, which no HTML parser can take
for markup, and the page's script puts it into the document as text only.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.lib.core.schema import PROMPTINGS, STATUSES, EvalRecord, Generation, Problem
from stages.lib.report.claims import ANSWER_MODE_NAMES
from stages.lib.report.webpage_tables import Table

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Figure:
    """An SVG file's text, with its name and caption."""

    name: str
    caption: str
    svg: str

    @property
    def source(self) -> str:
        """Return the picture as a data URL."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


def render(
    *,
    title: str,
    benchmark: str,
    findings: Sequence[Mapping[str, Any]],
    figures: Sequence[Figure],
    tables: Sequence[Table],
    browser: Mapping[str, Any],
) -> str:
    """Return the page.

    ``findings`` on ``benchmark`` have a ``summary`` and its ``details``; ``browser`` is what
    the function ``browser`` returns.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=title,
        benchmark=benchmark,
        findings=findings,
        figures=figures,
        tables=tables,
        packed=pack(browser),
        n_problems=len(browser["problems"]),
    )


def pack(value: Any) -> str:
    """Return a value as JSON, gzipped without a date, in base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def browser(
    problems: Mapping[str, Sequence[Problem]],
    answers: Iterable[tuple[str, Generation]],
    graded: Sequence[EvalRecord],
    *,
    systems: Sequence[str],
    limit: int,
) -> dict[str, Any]:
    """Return the first ``limit`` problems with every answer to them, as plain values.

    ``problems`` are by benchmark; ``answers`` are (system, generation) pairs. Each problem
    has, by prompting, a list in the order of ``systems``. Raises ValueError for an answer
    without a verdict, and for a problem that a system did not answer.
    """
    verdicts = {(row.system, row.problem_id, row.prompting): row for row in graded}
    written = {(system, row.problem_id, row.prompting): row for system, row in answers}
    shown = [(name, one) for name, members in problems.items() for one in members][:limit]
    found = []
    for benchmark, problem in shown:
        of_problem: dict[str, list[dict[str, Any]]] = {}
        for prompting in PROMPTINGS:
            keys = [(system, problem.id, prompting) for system in systems]
            for key in keys:
                if key not in written or key not in verdicts:
                    raise ValueError(f"{key}: expected an answer and its verdict")
            of_problem[prompting] = [_answer(written[key], verdicts[key]) for key in keys]
        found.append(
            {
                "benchmark": benchmark,
                "source": problem.source,
                "topic": problem.topic,
                "question": problem.question,
                "choices": problem.choices,
                "answer": problem.answer,
                "answers": of_problem,
            }
        )
    return {
        "systems": list(systems),
        "statuses": list(STATUSES),
        "promptings": {name: ANSWER_MODE_NAMES[name] for name in PROMPTINGS},
        "problems": found,
    }


def _answer(row: Generation, verdict: EvalRecord) -> dict[str, Any]:
    return {
        "text": row.text,
        "output": verdict.output,
        "status": verdict.status,
        "extracted": verdict.extracted,
        "finish": row.finish_reason,
        "tokens": row.n_tokens,
    }
