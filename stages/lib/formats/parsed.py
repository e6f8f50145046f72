"""A parsed row of a data set, of any format, as a problem or as a conversation."""

from dataclasses import dataclass
from typing import Literal

from stages.lib.core.schema import Conversation, Problem, PublishedDifficulty, Turn, content_id
from stages.lib.formats.reference_answer import ReferenceAnswer

SkipReason = Literal["blank", "no answer", "several turns", "turns out of order"]
"""Why a row is skipped."""


@dataclass(frozen=True, slots=True)
class ParsedProblem:
    """The fields of a problem that a row gives.

    ``answer`` is None if only the program gives it. ``solution`` or ``program`` may be "";
    ``origin``, the set that the row came from, is "" if the row does not name it.
    ``published`` is empty unless the row states how difficult the problem is.
    """

    question: str
    answer: ReferenceAnswer | None
    solution: str
    program: str
    level: int | None
    topic: str
    origin: str
    published: tuple[PublishedDifficulty, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedConversation:
    """The turns of a conversation. ``system`` is "" if it has no system message."""

    system: str
    turns: list[Turn]


def as_problem(parsed: ParsedProblem, answer: ReferenceAnswer, name: str) -> Problem:
    """Return a parsed problem of the data set ``name`` with a reference answer.

    Its source is the set that the row came from, if the row names it, as those of MathInstruct and
    NuminaMath do; else it is ``name``. Pass rates and in-context examples are grouped by source.
    """
    problem_id = content_id(name, parsed.question)
    return Problem(
        id=problem_id,
        source=parsed.origin or name,
        question=parsed.question,
        answer=answer.answer,
        kind=answer.kind,
        choices=answer.choices,
        solution=parsed.solution,
        program=parsed.program,
        level=parsed.level,
        topic=parsed.topic or name,
        template=problem_id,
        published=list(parsed.published),
    )


def as_conversation(parsed: ParsedConversation, name: str) -> Conversation:
    """Return a parsed conversation of the data set ``name``."""
    texts = [text for turn in parsed.turns for text in (turn.question, turn.response)]
    return Conversation(content_id(name, parsed.system, *texts), name, parsed.system, parsed.turns)
