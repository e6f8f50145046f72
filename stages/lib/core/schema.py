"""The row types of every table, and checked reading and writing of them.

A row is a frozen dataclass that validates itself when it is made. Tables are
Parquet; rows that people write by hand or download are JSON Lines.
"""

from hashlib import sha256
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

AnswerKind = Literal["number", "expression", "choice"]

FocalLevel = Literal["token", "example"]

Prompting = Literal["cot", "pot"]

OptionSource = Literal["", "asked", "default"]

Status = Literal["correct", "wrong", "unparsed", "timeout", "crashed", "refused"]


PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")

STATUSES: tuple[Status, ...] = ("correct", "wrong", "unparsed", "timeout", "crashed", "refused")


RowT = TypeVar("Row")


NonEmpty = Annotated[str, Field(min_length=1)]

Count = Annotated[int, Field(ge=0)]

UnitInterval = Annotated[float, Field(ge=0, le=1)]


CHECKED = ConfigDict(extra="forbid", strict=True)


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
class Grade:
    """What a grader made of a text. An error is never silently a wrong answer."""

    extracted: str
    status: Status
    matched_option: str = ""


@dataclass(frozen=True, slots=True, config=CHECKED)
class SampleGrade:
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
    difficulty; it is a whole number but for the level definition ``fail_rate``.
    """

    problem_id: str
    source: str
    n: Annotated[int, Field(ge=1)]
    n_correct: Count
    pass_rate: UnitInterval
    posterior_mean: UnitInterval
    low: UnitInterval
    high: UnitInterval
    level: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Example:
    """A training example: turns, how often and how heavily their responses count.

    ``problem_id`` is that of a problem or of a conversation. ``system`` is empty for the
    usual system prompt. ``start_fraction`` is the share of the run's steps after which it takes
    part. The focal fields say how the model's own probabilities weigh it
    (``stages.lib.sft.focal``); with gamma 0 they do not.
    """

    problem_id: str
    source: str
    prompting: Prompting
    turns: Annotated[list[Turn], Field(min_length=1)]
    repeats: Count
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    system: str = ""
    start_fraction: UnitInterval = 0.0
    focal_gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    focal_level: FocalLevel = "token"
    focal_shuffled: bool = False


@dataclass(frozen=True, slots=True, config=CHECKED)
class EvalRecord:
    """A generation's verdict, with what a reader of the results needs beside it.

    ``system`` names the model and its in-context examples; ``output`` is what the
    program printed, or its error. ``option_source`` says that the answer was none of the
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
    option_source: OptionSource = ""


def content_id(*parts: str) -> str:
    """Return the 16-digit hash that identifies a row by what it says."""
    return sha256("\x1f".join(parts).encode()).hexdigest()[:16]
