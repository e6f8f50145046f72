"""Rows for tests, with a default for every field."""

from typing import Any

import pandas as pd

from stages.lib.core.schema import (
    Difficulty,
    EvalRecord,
    Example,
    Generation,
    Problem,
    Prompting,
    Turn,
)


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


def make_answers(system: str, n: int, n_sources: int = 2, **columns: Any) -> pd.DataFrame:
    """Return a frame of a system's answers to n problems; a column has one value, or one each."""
    names = {
        "benchmark": "ladder",
        "system": system,
        "problem_id": [f"p{number}" for number in range(n)],
        "source": [f"s{number % n_sources}" for number in range(n)],
    }
    return pd.DataFrame(names | columns)


def make_difficulty(problem_id: str, rate: float, n: int = 4, **changes: Any) -> Difficulty:
    """Return the difficulty of a problem that this share of n samples solves."""
    fields: dict[str, Any] = {
        "prompting": "cot",
        "source": "s",
        "n_correct": round(n * rate),
        "pass_rate": rate,
        "posterior_mean": rate,
        "low": rate,
        "high": rate,
        "level": 5.0 - 4 * rate,
    }
    return Difficulty(problem_id=problem_id, n=n, **fields | changes)


def make_example(problem_id: str, **changes: Any) -> Example:
    """Return an example of one turn."""
    fields: dict[str, Any] = {
        "source": "s",
        "prompting": "cot",
        "turns": [Turn("q", "r")],
        "repeats": 1,
        "weight": 1.0,
    }
    return Example(problem_id=problem_id, **fields | changes)
