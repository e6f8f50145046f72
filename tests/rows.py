"""Rows for tests, with a default for every field."""

from typing import Any

from stages.lib.core.schema import EvalRecord, Generation, Problem, Prompting


def make_problem(name: str, **changes: Any) -> Problem:
    """Return a problem with this id and question."""
    fields: dict[str, Any] = {
        "id": name,
        "source": "sum",
        "question": f"What is {name}?",
        "answer": "1",
        "kind": "number",
        "choices": [],
        "solution": "",
        "program": "",
        "level": 1,
        "topic": "addition",
        "template": name,
    }
    return Problem(**fields | changes)


def make_generation(problem_id: str, prompting: Prompting, **changes: Any) -> Generation:
    """Return an answer to a problem."""
    fields: dict[str, Any] = {
        "model": "sha",
        "shots": 0,
        "index": 0,
        "text": "1",
        "finish_reason": "stop",
        "n_tokens": 5,
        "prompt_sha": "sha",
    }
    return Generation(problem_id=problem_id, prompting=prompting, **fields | changes)


def make_record(system: str, problem_id: str, prompting: Prompting, **changes: Any) -> EvalRecord:
    """Return the graded record of an answer."""
    fields: dict[str, Any] = {
        "benchmark": "ladder",
        "status": "correct",
        "extracted": "1",
        "output": "",
        "finish_reason": "stop",
        "n_tokens": 5,
    }
    return EvalRecord(system=system, problem_id=problem_id, prompting=prompting, **fields | changes)
