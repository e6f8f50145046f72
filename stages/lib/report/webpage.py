"""The results as one self-contained HTML page: findings, figures, tables, generations.

Model-written text is untrusted. It is embedded compressed, which no HTML parser can take for
markup, and the page's script inserts it into the document as text only.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.core.schema import PROMPTINGS, STATUSES, EvalRecord, Generation, Problem
from stages.lib.report.templates import render_template
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

    ``findings`` on ``benchmark`` have a ``summary`` and its ``details``; ``browser`` is the
    result of ``browser_data``.
    """
    values = {
        "title": title,
        "benchmark": benchmark,
        "findings": findings,
        "figures": figures,
        "tables": tables,
        "packed": pack(browser),
        "n_problems": len(browser["problems"]),
    }
    return render_template(TEMPLATE, values, escape=True)


def pack(value: Any) -> str:
    """Return a value as JSON, gzipped without a date, in base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def browser_data(
    problems: Mapping[str, Sequence[Problem]],
    answers: Iterable[tuple[str, Generation]],
    records: Iterable[EvalRecord],
    *,
    systems: Sequence[str],
    limit: int,
) -> dict[str, Any]:
    """Return the first ``limit`` problems with every answer to them, as plain values.

    ``problems`` are by benchmark; ``answers`` are (system, generation) pairs. Each problem
    has, by prompting, a list in the order of ``systems``. Raises ValueError for an answer
    without a record, and for a problem that a system did not answer.
    """
    shown = [(name, problem) for name, members in problems.items() for problem in members][:limit]
    ids = {problem.id for _, problem in shown}
    # Only the answers to these problems are kept; the others may be many.
    record_of = {
        (record.system, record.problem_id, record.prompting): record
        for record in records
        if record.problem_id in ids
    }
    answer_of = {
        (system, answer.problem_id, answer.prompting): answer
        for system, answer in answers
        if answer.problem_id in ids
    }

    def answers_to(problem: Problem, prompting: str) -> list[dict[str, Any]]:
        keys = [(system, problem.id, prompting) for system in systems]
        for key in keys:
            if key not in answer_of or key not in record_of:
                raise ValueError(f"{key}: expected an answer and its grade")
        return [_describe_answer(answer_of[key], record_of[key]) for key in keys]

    return {
        "systems": list(systems),
        "statuses": list(STATUSES),
        "promptings": {name: ANSWER_MODES[name] for name in PROMPTINGS},
        "problems": [
            {
                "benchmark": benchmark,
                "source": problem.source,
                "topic": problem.topic,
                "question": problem.question,
                "choices": problem.choices,
                "answer": problem.answer,
                "answers": {name: answers_to(problem, name) for name in PROMPTINGS},
            }
            for benchmark, problem in shown
        ],
    }


def _describe_answer(answer: Generation, record: EvalRecord) -> dict[str, Any]:
    return {
        "text": answer.text,
        "output": record.output,
        "status": record.status,
        "extracted": record.extracted,
        "finish": answer.finish_reason,
        "tokens": answer.n_tokens,
    }
