r"""Rows of published data sets: what a row of each format says.

- ``mathinstruct``: ``instruction``, ``output``, ``source`` such as ``data/PoT/mathqa.json``,
  and in the difficulty-aware set ``difficulty_level`` (TIGER-Lab/MathInstruct,
  tongyx361/MathInstruct-Core-DifficultyAware). The output of a PoT row is a program.
- ``numina``: ``problem``, ``solution``, ``messages`` of ``role`` and ``content``, and
  ``source`` but for the rows with tools (AI-MO/NuminaMath-CoT, AI-MO/NuminaMath-TIR).
- ``orca-math``: ``question``, ``answer`` (microsoft/orca-math-word-problems-200k).
- ``sharegpt``: ``conversations`` of ``from`` and ``value`` (mlabonne/FineTome-100k).
- ``gsm8k``: ``question``, ``answer`` with ``<<48/2=24>>`` and ``####`` (openai/gsm8k).
- ``math``: ``problem``, ``solution`` with ``\boxed{}``, ``level``, ``type``
  (Hendrycks et al. 2021).

Other fields of a row are ignored.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.lib.core.schema import Turn
from stages.lib.core.validation import describe_error
from stages.lib.formats.gsm8k_calculator import annotated_program
from stages.lib.formats.parsed import ParsedConversation, ParsedProblem, SkipReason
from stages.lib.formats.reference_answer import ReferenceAnswer, as_answer, find_answer
from stages.lib.grading.extraction import last_boxed
from stages.lib.grading.grader import program_in
from stages.lib.params.data import Format

_CUE = re.compile(
    r"\s*(?:Let's write a (?:Python )?program(?: to solve it)?\.?"
    r"|Let's program in Python in the response\.?|Please write a program to solve it\.?)",
    re.IGNORECASE,
)
_ANNOTATION = re.compile(r"<<.*?>>")
_USER, _ASSISTANT = ("human", "user"), ("gpt", "assistant")


class FormatRow(Protocol):
    """A row with the fields of its format; ``origin`` is where it is from, or ""."""

    @property
    def origin(self) -> str: ...  # noqa: D102

    def told(self) -> ParsedProblem | SkipReason: ...  # noqa: D102

    def said(self) -> ParsedConversation | SkipReason: ...  # noqa: D102


def parse(value: dict[str, Any], format: Format) -> FormatRow:
    """Return a raw row with checked fields. Raises ValueError naming a field that is not right."""
    try:
        return cast(FormatRow, _ROWS[format].model_validate(value))
    except ValidationError as error:
        raise ValueError(f"{describe_error(error, value)} (format {format})") from error


def _one_turn(question: str, response: str) -> ParsedConversation | SkipReason:
    if not question.strip() or not response.strip():
        return "blank"
    return ParsedConversation("", [Turn(question, response)])


def _solved(
    question: str,
    solution: str,
    *,
    answer: ReferenceAnswer | None,
    program: str = "",
    level: int | None = None,
    topic: str = "",
    origin: str = "",
) -> ParsedProblem | SkipReason:
    if not question.strip() or not solution.strip():
        return "blank"
    if answer is None:
        return "no answer"
    return ParsedProblem(question, answer, solution, program, level, topic, origin)


class _Checked(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _MathInstruct(_Checked):
    instruction: str
    output: str
    source: str
    difficulty_level: int | None = None

    @property
    def origin(self) -> str:
        return PurePosixPath(self.source).stem

    @property
    def _is_program(self) -> bool:
        return PurePosixPath(self.source).parent.name.lower() == "pot"

    def told(self) -> ParsedProblem | SkipReason:
        level, origin = self.difficulty_level, self.origin
        if not self._is_program:
            answer = find_answer(self.output, self.instruction)
            return _solved(
                self.instruction,
                self.output,
                answer=answer,
                level=level,
                topic=origin,
                origin=origin,
            )
        question = _CUE.sub("", self.instruction).strip()
        if not question or not self.output.strip():
            return "blank"
        program = program_in(self.output) or self.output.strip("\n")
        return ParsedProblem(question, None, "", program, level, origin, origin)

    def said(self) -> ParsedConversation | SkipReason:
        return _one_turn(self.instruction, self.output)


class _Message(_Checked):
    role: str
    content: str


class _Numina(_Checked):
    problem: str
    solution: str
    messages: list[_Message]
    source: str = ""

    @property
    def origin(self) -> str:
        return self.source

    def told(self) -> ParsedProblem | SkipReason:
        answer = find_answer(self.solution, self.problem)
        return _solved(
            self.problem, self.solution, answer=answer, topic=self.source, origin=self.source
        )

    def said(self) -> ParsedConversation | SkipReason:
        return _in_turns([(one.role, one.content) for one in self.messages])


class _Orca(_Checked):
    question: str
    answer: str
    origin: ClassVar[str] = ""

    def told(self) -> ParsedProblem | SkipReason:
        found = find_answer(self.answer, self.question)
        return _solved(self.question, self.answer, answer=found)

    def said(self) -> ParsedConversation | SkipReason:
        return _one_turn(self.question, self.answer)


class _Spoken(_Checked):
    speaker: Annotated[str, Field(alias="from")]
    value: str


class _ShareGpt(_Checked):
    conversations: list[_Spoken]
    source: str | None = None

    @property
    def origin(self) -> str:
        return self.source or ""

    def told(self) -> ParsedProblem | SkipReason:
        said = self.said()
        if isinstance(said, str):
            return said
        if len(said.turns) > 1:
            return "several turns"
        turn = said.turns[0]
        answer = find_answer(turn.response, turn.question)
        return _solved(turn.question, turn.response, answer=answer, topic=self.origin)

    def said(self) -> ParsedConversation | SkipReason:
        return _in_turns([(one.speaker, one.value) for one in self.conversations])


class _Gsm8k(_Checked):
    question: str
    answer: str
    origin: ClassVar[str] = ""

    def told(self) -> ParsedProblem | SkipReason:
        steps, _, ending = self.answer.partition("####")
        answer = as_answer(ending)
        if answer.kind != "number":
            return "no answer"
        solution = f"{_ANNOTATION.sub('', steps).strip()}\nThe answer is {answer.answer}."
        return _solved(
            self.question,
            solution.strip(),
            answer=answer,
            program=annotated_program(steps, answer.answer),
            topic="word problems",
        )

    def said(self) -> ParsedConversation | SkipReason:
        told = self.told()
        return told if isinstance(told, str) else _one_turn(told.question, told.solution)


class _Math(_Checked):
    problem: str
    solution: str
    level: str | int
    type: str
    origin: ClassVar[str] = ""

    def told(self) -> ParsedProblem | SkipReason:
        level = str(self.level).removeprefix("Level ")
        boxed = _boxed(self.solution)
        return _solved(
            self.problem,
            self.solution,
            answer=ReferenceAnswer(boxed, "expression", []) if boxed else None,
            level=int(level) if level.isdecimal() else None,
            topic=self.type,
        )

    def said(self) -> ParsedConversation | SkipReason:
        return _one_turn(self.problem, self.solution)


def _boxed(solution: str) -> str:
    try:
        return last_boxed(solution).strip()
    except ValueError:
        return ""


def _in_turns(spoken: Sequence[tuple[str, str]]) -> ParsedConversation | SkipReason:
    """Return who said what as turns: a system's first, if any, then a user's and an assistant's."""
    system = ""
    if spoken and spoken[0][0] == "system":
        system, spoken = spoken[0][1].strip(), spoken[1:]
    asked, replied = spoken[::2], spoken[1::2]
    in_order = len(asked) == len(replied) > 0 and all(
        question[0] in _USER and response[0] in _ASSISTANT
        for question, response in zip(asked, replied, strict=True)
    )
    if not in_order:
        return "turns out of order"
    if not all(text.strip() for _, text in spoken):
        return "blank"
    pairs = zip(asked, replied, strict=True)
    return ParsedConversation(
        system, [Turn(question[1], response[1]) for question, response in pairs]
    )


_ROWS: dict[Format, type[_Checked]] = {
    "mathinstruct": _MathInstruct,
    "numina": _Numina,
    "orca-math": _Orca,
    "sharegpt": _ShareGpt,
    "gsm8k": _Gsm8k,
    "math": _Math,
}
