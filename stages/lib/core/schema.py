"""Row types of every table.

A row is a frozen dataclass that validates itself when it is constructed.
``stages.lib.core.tables`` reads and writes tables of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, fields
from hashlib import sha256
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

AnswerKind = Literal["number", "expression", "choice"]

FactorUnit = Literal["token", "example"]
Factor = Literal["none", "focal", "likelihood", "base_likelihood"]

Prompting = Literal["cot", "pot"]

OptionSource = Literal["", "follow_up", "first_option"]

Status = Literal["correct", "wrong", "unparsed", "ungraded", "timeout", "crashed", "refused"]

PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")

STATUSES: tuple[Status, ...] = get_args(Status)

RowT = TypeVar("RowT")

NonEmpty = Annotated[str, Field(min_length=1)]

UnitInterval = Annotated[float, Field(ge=0, le=1)]

CHECKED = ConfigDict(extra="forbid", strict=True)


# Not strict: a table gives a nested row as a mapping, which strict mode refuses.
_NESTED = ConfigDict(extra="forbid", strict=False)


@dataclass(frozen=True, slots=True, config=_NESTED)
class PublishedDifficulty:
    """The difficulty of a problem with a prompting, as its data set states it."""

    prompting: Prompting
    fail_rate: UnitInterval
    level: NonNegativeInt


@dataclass(frozen=True, slots=True, config=CHECKED)
class Problem:
    """A question with one right answer.

    ``choices`` is empty unless ``kind`` is ``choice``; then ``answer`` is the
    letter of the right choice. ``template`` names the cluster of problems that
    differ only in their numbers; statistics resample whole clusters. ``published``
    is empty unless the data set states how difficult the problem is.
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
    published: list[PublishedDifficulty] = field(default_factory=list)


@dataclass(frozen=True, slots=True, config=_NESTED)
class Turn:
    """A question and its response."""

    question: str
    response: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Conversation:
    """Turns to train on, without a graded answer.

    ``system`` is the conversation's own system prompt, empty for that of the run.
    """

    id: str
    source: str
    system: str
    turns: Annotated[list[Turn], Field(min_length=1)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Passage:
    """A piece of running text, to calibrate quantization on."""

    text: NonEmpty


@dataclass(frozen=True, slots=True, config=CHECKED)
class Generation:
    """One text that a model generated for a problem.

    ``shots`` counts the worked examples in the prompt; ``index`` numbers the samples of one prompt;
    ``prompt_sha`` identifies the exact prompt and sampling settings, ``model`` the weights.
    """

    problem_id: str
    model: str
    prompting: Prompting
    shots: NonNegativeInt
    index: NonNegativeInt
    text: str
    finish_reason: str
    n_tokens: NonNegativeInt
    prompt_sha: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Likelihood:
    """The negative log-likelihood, in nats, of a problem's worked solution of ``n_tokens``."""

    problem_id: str
    source: str
    nats: Annotated[float, Field(ge=0)]
    n_tokens: PositiveInt


@dataclass(frozen=True, slots=True, config=CHECKED)
class Grade:
    """The answer extracted from a text and its status.

    A program that failed has a status of its own, never ``wrong``, and so has an answer that the
    grader could not compare (``ungraded``). ``matched_option`` is the letter of the option whose
    content ``extracted`` is, empty if it is a letter itself. ``stated`` says whether the text
    announces its answer, as by "The answer is"; otherwise the last number or formula counts.
    """

    extracted: str
    status: Status
    matched_option: str = ""
    stated: bool = True


@dataclass(frozen=True, slots=True, config=CHECKED)
class SampleGrade:
    """The grade of one sample of the base model."""

    problem_id: str
    prompting: Prompting
    index: NonNegativeInt
    status: Status
    extracted: str


@dataclass(frozen=True, slots=True, config=CHECKED)
class Difficulty:
    """How hard a problem is for the base model with a prompting, estimated from ``n`` samples.

    ``posterior_mean`` and the interval ``low``..``high`` are those of the pass rate
    under a Beta prior fitted to the problem's source. ``level`` grows with difficulty;
    it is a whole number unless ``score.definition`` is ``fail_rate``. Where difficulty is
    the published one, ``n`` is 0 and all four rates are the published rate.
    """

    problem_id: str
    prompting: Prompting
    source: str
    n: NonNegativeInt
    n_correct: NonNegativeInt
    pass_rate: UnitInterval
    posterior_mean: UnitInterval
    low: UnitInterval
    high: UnitInterval
    level: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True, config=CHECKED)
class Example:
    """A training example: its turns, how often they are repeated, and the weight of their loss.

    ``problem_id`` is the id of a problem or of a conversation. ``system`` is empty for the
    run's system prompt. ``start_fraction`` is the fraction of the run's steps after which the
    example is used. ``factor`` multiplies the loss weight by a probability of what is learned,
    and ``anchor`` weighs the divergence from the base model (``stages.lib.sft.factors``).
    """

    problem_id: str
    source: str
    prompting: Prompting
    turns: Annotated[list[Turn], Field(min_length=1)]
    repeats: NonNegativeInt
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    system: str = ""
    start_fraction: UnitInterval = 0.0
    factor: Factor = "none"
    factor_power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    factor_unit: FactorUnit = "token"
    factor_shuffled: bool = False
    anchor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def info(self) -> "ExampleInfo":
        """Return what a plan needs of the example, without its texts."""
        return ExampleInfo(*(getattr(self, entry.name) for entry in fields(ExampleInfo)))


@plain_dataclass(frozen=True, slots=True)
class ExampleInfo:
    """An example without its texts, of which a training keeps one for each example."""

    problem_id: str
    source: str
    prompting: Prompting
    repeats: int
    weight: float
    start_fraction: float
    factor: Factor
    factor_power: float
    factor_unit: FactorUnit
    factor_shuffled: bool
    anchor: float


@dataclass(frozen=True, slots=True, config=CHECKED)
class EvalRecord:
    """The grade of one generation on a benchmark, with the fields that the analysis needs.

    ``system`` names the model and its number of in-context examples, as in ``base-4shot``;
    ``index`` is 0 for the greedy answer, and counts the sampled ones from 1;
    ``output`` is what the program printed, or its error. ``option_source`` is empty if the
    answer is one of the options or the problem has none. Otherwise the option is that of the
    model's reply to a follow-up question (``follow_up``), or the first (``first_option``).
    ``matched_option`` and ``stated`` are those of the grade.
    """

    benchmark: str
    problem_id: str
    system: str
    prompting: Prompting
    status: Status
    extracted: str
    output: str
    finish_reason: str
    n_tokens: NonNegativeInt
    option_source: OptionSource = ""
    stated: bool = True
    matched_option: str = ""
    index: NonNegativeInt = 0


def content_id(*parts: str) -> str:
    """Return the hash of 16 hexadecimal digits that identifies a row by its content."""
    return sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def difficulty_by_problem(
    rows: Iterable[Difficulty], prompting: Prompting
) -> dict[str, Difficulty]:
    """Return the difficulty of each problem, by its id, in the order of the rows.

    It is that for this prompting, else that for the other.
    """
    chosen: dict[str, Difficulty] = {}
    for row in rows:
        if row.prompting == prompting or row.problem_id not in chosen:
            chosen[row.problem_id] = row
    return chosen


def system_name(model: str, shots: int) -> str:
    """Return the name of a model with a number of in-context examples, as in ``base-4shot``."""
    return f"{model}-{shots}shot" if shots else model
