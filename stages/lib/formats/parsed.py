"""What a row of a data set says, whatever its format, as a problem or as a conversation."""

from dataclasses import dataclass
from typing import Literal

from stages.lib.core.schema import Conversation, Problem, Turn, content_id
from stages.lib.formats.reference_answer import ReferenceAnswer

SkipReason = Literal["blank", "no answer", "several turns", "turns out of order"]
"""Why nothing is made of a row."""


@dataclass(frozen=True, slots=True)
class ParsedProblem:
    """What a row says about a problem.

    ``answer`` is None if only the program can tell it. ``solution`` or ``program`` may be "";
    ``origin``, the set that the row came from, is "" if it does not say.
    """

    question: str
    answer: ReferenceAnswer | None
    solution: str
    program: str
    level: int | None
    topic: str
    origin: str


@dataclass(frozen=True, slots=True)
class ParsedConversation:
    """What a row says as a conversation; ``system`` is "" without such a turn."""

    system: str
    turns: list[Turn]


def as_problem(told: ParsedProblem, answered: ReferenceAnswer, name: str) -> Problem:
    """Return what a row tells as a problem with that answer.

    Its source is where the row came from, as MathInstruct and NuminaMath say; pass rates and
    in-context examples go by it. Else it is ``name``.
    """
    identity = content_id(name, told.question)
    return Problem(
        id=identity,
        source=told.origin or name,
        question=told.question,
        answer=answered.answer,
        kind=answered.kind,
        choices=answered.choices,
        solution=told.solution,
        program=told.program,
        level=told.level,
        topic=told.topic or name,
        template=identity,
    )


def as_conversation(said: ParsedConversation, name: str) -> Conversation:
    """Return what a row says as a conversation."""
    texts = [text for turn in said.turns for text in (turn.question, turn.response)]
    return Conversation(content_id(name, said.system, *texts), name, said.system, said.turns)
