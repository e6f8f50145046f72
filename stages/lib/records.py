"""The row types of every table, and checked reading and writing of them.

A row is a frozen dataclass that validates itself when it is made. Tables are
Parquet; rows that people write by hand or download are JSON Lines.
"""

import json
import reprlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from stages.lib.files import replacing

AnswerKind = Literal["number", "expression", "choice"]
FocalLevel = Literal["token", "example"]
Prompting = Literal["cot", "pot"]
Settled = Literal["", "asked", "default"]
Status = Literal["correct", "wrong", "unparsed", "timeout", "crashed", "refused"]

PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")
STATUSES: tuple[Status, ...] = ("correct", "wrong", "unparsed", "timeout", "crashed", "refused")

Row = TypeVar("Row")

NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

CHECKED = ConfigDict(extra="forbid", strict=True)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")


@dataclass(frozen=True, slots=True, config=CHECKED)
class Problem:
    """A question with one right answer.

    ``choices`` is empty unless ``kind`` is ``choice``; then ``answer`` is the
    letter of the right one. ``template`` names the cluster of problems that
    differ only in their numbers; statistics resample whole clusters.
    """

    id: str
    source: str
    question: NonEmpty
    answer: NonEmpty
    kind: AnswerKind
    choices: list[str]
    solution: str
    program: str
    level: int | None
    topic: str
    template: str


# Strict rows refuse what a table gives for a row inside a row: a mapping.
_INSIDE = ConfigDict(extra="forbid", strict=False)


@dataclass(frozen=True, slots=True, config=_INSIDE)
class Turn:
    """A question and its response."""

    question: str
    response: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Conversation:
    """Turns to learn from that nothing is graded in; ``system`` is empty for the usual one."""

    id: str
    source: str
    system: str
    turns: Annotated[list[Turn], Field(min_length=1)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Generation:
    """One text that a model wrote for a problem.

    ``shots`` counts the worked examples in the prompt; ``index`` numbers the
    samples of one prompt; ``prompt_sha`` identifies the exact prompt and
    sampling settings, ``model`` the weights.
    """

    problem_id: str
    model: str
    prompting: Prompting
    shots: Count
    index: Count
    text: str
    finish_reason: str
    n_tokens: Count
    prompt_sha: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Likelihood:
    """The negative log-likelihood of a problem's worked solution, in nats, and its tokens."""

    problem_id: str
    source: str
    nats: Annotated[float, Field(ge=0)]
    n_tokens: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Verdict:
    """What a grader made of a text. An error is never silently a wrong answer."""

    extracted: str
    status: Status
    matched_option: str = ""


@dataclass(frozen=True, slots=True, config=CHECKED)
class SampleVerdict:
    """The verdict on one sample of the base model."""

    problem_id: str
    prompting: Prompting
    index: Count
    status: Status
    extracted: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Difficulty:
    """How hard a problem is for the base model, from ``n`` reasoned samples.

    ``posterior_mean`` and the interval ``low``..``high`` are of the pass rate,
    under a Beta prior fitted to the problem's source. ``level`` grows with
    difficulty; it is a whole number but for the level definition ``rate``.
    """

    problem_id: str
    source: str
    n: Annotated[int, Field(ge=1)]
    n_correct: Count
    pass_rate: Share
    posterior_mean: Share
    low: Share
    high: Share
    level: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Example:
    """A training example: turns, how often and how heavily their responses count.

    ``problem_id`` is that of a problem or of a conversation. ``system`` is empty for the
    usual system prompt. ``opens`` is the share of the run's steps after which it takes
    part. The focal fields say how the model's own probabilities weigh it
    (``stages.lib.focal``); with gamma 0 they do not.
    """

    problem_id: str
    source: str
    prompting: Prompting
    turns: Annotated[list[Turn], Field(min_length=1)]
    repeats: Count
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    system: str = ""
    opens: Share = 0.0
    focal_gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    focal_level: FocalLevel = "token"
    focal_dealt: bool = False


@dataclass(frozen=True, slots=True, config=CHECKED)
class Graded:
    """A generation's verdict, with what a reader of the results needs beside it.

    ``system`` names the model and its in-context examples; ``output`` is what the
    program printed, or its error. ``settled`` says that the answer was none of the
    options: the model was asked for the closest one, or the first counts by default.
    """

    benchmark: str
    problem_id: str
    system: str
    prompting: Prompting
    status: Status
    extracted: str
    output: str
    finish_reason: str
    n_tokens: Count
    settled: Settled = ""


def content_id(*parts: str) -> str:
    """Return the 16-digit hash that identifies a row by what it says."""
    return sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def describe_error(error: ValidationError, value: Any) -> str:
    """Return the first complaint about ``value`` as ``field: what it is, what was expected``.

    An unknown field comes before a missing one: it is often the same one, misspelt.
    """
    complaints = error.errors()
    first = next((one for one in complaints if one["type"] in _UNKNOWN), complaints[0])
    field = _path(first["loc"], value)
    if first["type"] in _UNKNOWN:
        return f"{field}: unknown"
    if first["type"] in _MISSING:
        return f"{field}: missing"
    if first["type"].startswith("union_tag"):
        context = first.get("ctx", {})
        key = context["discriminator"].strip("'")
        return f"{field}.{key}: {context.get('tag')!r}: expected {context.get('expected_tags')}"
    said = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict):
        return ".".join(part for part in (field, said) if part)
    return f"{field}: {reprlib.repr(first['input'])}: {said}"


def _path(location: Sequence[int | str], value: Any) -> str:
    """Return a dotted path without the tags that pydantic adds for the kinds of a union."""
    parts = []
    for position, part in enumerate(location):
        is_last = position == len(location) - 1
        if isinstance(value, dict) and part not in value and not is_last:
            continue
        parts.append(str(part))
        if isinstance(value, dict | list) and not is_last:
            value = value[part]  # type: ignore[index]
    return ".".join(parts)


def read_parquet(path: Path, row_type: type[Row]) -> list[Row]:
    """Read a Parquet table as checked rows.

    Raises ValueError naming the file, the row and the field if it holds
    something else, and FileNotFoundError if there is none.
    """
    table = _read(path)
    names = [one.name for one in fields(cast(Any, row_type))]
    if sorted(names) == sorted(table.column_names):
        columns = [table[name].to_pylist() for name in names]
        # By place, in a third of the time; what is wrong with a row is said below.
        with suppress(ValidationError):
            return [row_type(*values) for values in zip(*columns, strict=True)]
    return _checked(path, table.to_pylist(), row_type, what="row", first=0)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a Parquet table of any kind.

    Raises ValueError naming the file if it is damaged, and FileNotFoundError if
    there is none.
    """
    return _read(path).to_pylist()


def write_parquet(path: Path, rows: Sequence[Any], *, may_be_empty: type | None = None) -> None:
    """Write rows of one type, whole or not at all.

    Raises ValueError for no rows, unless ``may_be_empty`` is their type.
    """
    if rows:
        table = as_table(rows)
    elif may_be_empty is not None:
        table = pa.table({field.name: pa.nulls(0) for field in fields(may_be_empty)})
    else:
        raise ValueError(f"{path}: no rows to write")
    with replacing(path) as aside:
        pq.write_table(table, aside, compression="zstd", write_page_checksum=True)


def as_table(rows: Sequence[Any]) -> pa.Table:
    """Return rows of one type, at least one, as columns; rows inside a row become structs."""
    return pa.table({one.name: _column(rows, one.name) for one in fields(rows[0])})


def read_jsonl(path: Path, row_type: type[Row]) -> list[Row]:
    """Read a JSON Lines file as checked rows; errors name the file and the line."""
    values = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                values.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}: line {number}: not JSON: {error}") from error
    return _checked(path, values, row_type, what="line", first=1)


def _column(rows: Sequence[Any], name: str) -> list[Any]:
    values = [getattr(row, name) for row in rows]
    if not isinstance(values[0], list):
        return values
    return [[asdict(one) if is_dataclass(one) else one for one in value] for value in values]  # type: ignore[arg-type]


def _read(path: Path) -> pa.Table:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such table")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        _ = table.column_names  # decoded only when they are asked for
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a whole Parquet file: {error}") from error
    return table


def _checked(
    path: Path, values: Iterable[Any], row_type: type[Row], *, what: str, first: int
) -> list[Row]:
    rows = []
    for number, value in enumerate(values, start=first):
        try:
            rows.append(row_type(**value))
        except ValidationError as error:
            raise ValueError(f"{path}: {what} {number}: {describe_error(error, value)}") from error
        except TypeError as error:
            raise ValueError(f"{path}: {what} {number}: not an object with fields") from error
    return rows
