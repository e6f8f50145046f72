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

from stages.lib.analysis.answer_modes import ANSWER_MODES, modes_among
from stages.lib.core.schema import STATUSES, EvalRecord, Generation, Problem
from stages.lib.report.templates import render_template
from stages.lib.report.webpage_tables import Table

TEMPLATE = "page.html.j2"
PROBLEM_FIELDS = ("source", "topic", "question", "choices", "answer")

AnswerKey = tuple[str, str, str]
"""A system, the id of a problem, and the prompting."""


@dataclass(frozen=True)
class Figure:
    """An SVG file's text, with its name and caption, and what drew it."""

    name: str
    caption: str
    svg: str
    drawn_by: str = "stages/figures.py"

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
    study: Mapping[str, Any] | None = None,
) -> str:
    """Return the page.

    ``findings`` on ``benchmark`` have a ``summary`` and its ``details``; ``browser`` is the
    result of ``browser_data``, ``study`` that of ``read_study``.
    """
    values = {
        "title": title,
        "benchmark": benchmark,
        "findings": findings,
        "figures": figures,
        "tables": tables,
        "packed": pack(browser),
        "study": study,
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
    first = [(name, problem) for name, members in problems.items() for problem in members][:limit]
    ids = {problem.id for _, problem in first}
    # Only the answers to these problems are held in memory; all answers may be many.
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
    promptings = modes_among({prompting for _, _, prompting in answer_of})
    rows = []
    for benchmark, problem in first:
        by_prompting = {}
        for prompting in promptings:
            keys = [(system, problem.id, prompting) for system in systems]
            by_prompting[prompting] = [_describe_answer(key, answer_of, record_of) for key in keys]
        fields = {name: getattr(problem, name) for name in PROBLEM_FIELDS}
        rows.append({"benchmark": benchmark, **fields, "answers": by_prompting})
    return {
        "systems": list(systems),
        "statuses": list(STATUSES),
        "promptings": {name: ANSWER_MODES[name] for name in promptings},
        "problems": rows,
    }


def _describe_answer(
    key: AnswerKey,
    answer_of: Mapping[AnswerKey, Generation],
    record_of: Mapping[AnswerKey, EvalRecord],
) -> dict[str, Any]:
    if key not in answer_of or key not in record_of:
        raise ValueError(f"{key}: expected an answer and its grade")
    answer, record = answer_of[key], record_of[key]
    return {
        "text": answer.text,
        "output": record.output,
        "status": record.status,
        "extracted": record.extracted,
        "finish": answer.finish_reason,
        "tokens": answer.n_tokens,
    }
