r"""Parse rows of published data sets, one class per format.

- ``mathinstruct``: ``instruction``, ``output``, ``source`` such as ``data/PoT/mathqa.json``,
  and in the difficulty-aware set ``err_rate`` and ``difficulty_level`` (TIGER-Lab/MathInstruct,
  tongyx361/MathInstruct-Core-DifficultyAware). The output of a PoT row is a program.
- ``numina``: ``problem``, ``solution``, ``messages`` of ``role`` and ``content``, and
  ``source``, which rows with tools lack (AI-MO/NuminaMath-CoT, AI-MO/NuminaMath-TIR).
- ``orca-math``: ``question``, ``answer`` (microsoft/orca-math-word-problems-200k).
- ``sharegpt``: ``conversations`` of ``from`` and ``value`` (mlabonne/FineTome-100k).
- ``gsm8k``: ``question``, ``answer`` with ``<<48/2=24>>`` and ``####`` (openai/gsm8k).
- ``math``: ``problem``, ``solution`` with ``\boxed{}``, ``level``, ``type``
  (Hendrycks et al. 2021).

Other fields of a row are ignored.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from stages.lib.core.schema import Prompting, PublishedDifficulty, Turn, UnitInterval
from stages.lib.core.validation import describe_error
from stages.lib.formats.gsm8k_calculator import annotated_program
from stages.lib.formats.parsed import ParsedConversation, ParsedProblem, SkipReason
from stages.lib.formats.reference_answer import ReferenceAnswer, as_answer, find_answer
from stages.lib.grading.extraction import last_boxed
from stages.lib.grading.grader import extract_program
from stages.lib.params.data import Format

_PROGRAM_CUE = re.compile(
    r"\s*(?:Let's write a (?:Python )?program(?: to solve it)?\.?"
    r"|Let's program in Python in the response\.?|Please write a program to solve it\.?)",
    re.IGNORECASE,
)
_ANNOTATION = re.compile(r"<<.*?>>")
_USER_ROLES, _ASSISTANT_ROLES = ("human", "user"), ("gpt", "assistant")


def parse(value: dict[str, Any], format: Format) -> "FormatRow":
    """Return a raw row with checked fields. Raises ValueError naming the first wrong field."""
    try:
        return _ROW_TYPES[format].model_validate(value)
    except ValidationError as error:
        raise ValueError(f"{describe_error(error, value)} (format {format})") from error


class _Checked(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _MathInstruct(_Checked):
    instruction: str
    output: str
    source: str
    err_rate: UnitInterval | None = None
    difficulty_level: NonNegativeInt | None = None

    @property
    def origin(self) -> str:
        return PurePosixPath(self.source).stem

    def to_problem(self) -> ParsedProblem | SkipReason:
        level, origin = self.difficulty_level, self.origin
        if PurePosixPath(self.source).parent.name.lower() != "pot":
            return _solved_problem(
                self.instruction,
                self.output,
                find_answer(self.output, self.instruction),
                level=level,
                topic=origin,
                origin=origin,
                published=self._published("cot"),
            )
        question = _PROGRAM_CUE.sub("", self.instruction).strip()
        if not question or not self.output.strip():
            return "blank"
        program = extract_program(self.output) or self.output.strip("\n")
        published = self._published("pot")
        return ParsedProblem(question, None, "", program, level, origin, origin, published)

    def _published(self, prompting: Prompting) -> tuple[PublishedDifficulty, ...]:
        if self.err_rate is None or self.difficulty_level is None:
            return ()
        return (PublishedDifficulty(prompting, self.err_rate, self.difficulty_level),)

    def to_conversation(self) -> ParsedConversation | SkipReason:
        return _single_turn(self.instruction, self.output)


class _NuminaMessage(_Checked):
    role: str
    content: str


class _Numina(_Checked):
    problem: str
    solution: str
    messages: list[_NuminaMessage]
    source: str = ""

    @property
    def origin(self) -> str:
        return self.source

    def to_problem(self) -> ParsedProblem | SkipReason:
        answer = find_answer(self.solution, self.problem)
        return _solved_problem(
            self.problem, self.solution, answer, topic=self.source, origin=self.source
        )

    def to_conversation(self) -> ParsedConversation | SkipReason:
        return _pair_messages([(message.role, message.content) for message in self.messages])


class _OrcaMath(_Checked):
    question: str
    answer: str
    origin: ClassVar[str] = ""

    def to_problem(self) -> ParsedProblem | SkipReason:
        return _solved_problem(self.question, self.answer, find_answer(self.answer, self.question))

    def to_conversation(self) -> ParsedConversation | SkipReason:
        return _single_turn(self.question, self.answer)


class _ShareGptMessage(_Checked):
    role: Annotated[str, Field(alias="from")]
    value: str


class _ShareGpt(_Checked):
    conversations: list[_ShareGptMessage]
    source: str | None = None

    @property
    def origin(self) -> str:
        return self.source or ""

    def to_problem(self) -> ParsedProblem | SkipReason:
        conversation = self.to_conversation()
        if isinstance(conversation, str):
            return conversation
        if len(conversation.turns) > 1:
            return "several turns"
        turn = conversation.turns[0]
        # Without ``origin``: it names no set of problems, so the problem's source is the data set.
        return _solved_problem(
            turn.question,
            turn.response,
            find_answer(turn.response, turn.question),
            topic=self.origin,
        )

    def to_conversation(self) -> ParsedConversation | SkipReason:
        return _pair_messages([(message.role, message.value) for message in self.conversations])


class Gsm8kRow(_Checked):
    """A row of GSM8K (Cobbe et al. 2021)."""

    question: str
    answer: str
    origin: ClassVar[str] = ""

    def to_problem(self) -> ParsedProblem | SkipReason:
        """Return the problem with the program that the calculator annotations make."""
        problem = self.without_program()
        if isinstance(problem, str) or problem.answer is None:
            return problem
        steps = self.answer.partition("####")[0]
        return replace(problem, program=annotated_program(steps, problem.answer.answer))

    def without_program(self) -> ParsedProblem | SkipReason:
        """Return the problem without a program, since writing one takes most of the time.

        The solution loses the calculator annotations and ends with "The answer is X.".
        """
        steps, _, ending = self.answer.partition("####")
        answer = as_answer(ending)
        if answer.kind != "number":
            return "no answer"
        solution = f"{_ANNOTATION.sub('', steps).strip()}\nThe answer is {answer.answer}."
        return _solved_problem(self.question, solution.strip(), answer, topic="word problems")

    def to_conversation(self) -> ParsedConversation | SkipReason:
        """Return the question and the solution as one turn."""
        problem = self.without_program()
        if isinstance(problem, str):
            return problem
        return _single_turn(problem.question, problem.solution)


class MathRow(_Checked):
    """A row of MATH (Hendrycks et al. 2021)."""

    problem: str
    solution: str
    level: str | int
    type: str
    origin: ClassVar[str] = ""

    def to_problem(self) -> ParsedProblem | SkipReason:
        """Return the problem; its answer is what the last box of the solution holds."""
        try:
            boxed = last_boxed(self.solution).strip()
        except ValueError:
            boxed = ""
        level = str(self.level).removeprefix("Level ")
        return _solved_problem(
            self.problem,
            self.solution,
            ReferenceAnswer(boxed, "expression", []) if boxed else None,
            level=int(level) if level.isdecimal() else None,
            topic=self.type,
        )

    def to_conversation(self) -> ParsedConversation | SkipReason:
        """Return the problem and the solution as one turn."""
        return _single_turn(self.problem, self.solution)


def _solved_problem(
    question: str,
    solution: str,
    answer: ReferenceAnswer | None,
    *,
    level: int | None = None,
    topic: str = "",
    origin: str = "",
    published: tuple[PublishedDifficulty, ...] = (),
) -> ParsedProblem | SkipReason:
    if not question.strip() or not solution.strip():
        return "blank"
    if answer is None:
        return "no answer"
    return ParsedProblem(question, answer, solution, "", level, topic, origin, published)


def _single_turn(question: str, response: str) -> ParsedConversation | SkipReason:
    if not question.strip() or not response.strip():
        return "blank"
    return ParsedConversation("", [Turn(question, response)])


def _pair_messages(messages: Sequence[tuple[str, str]]) -> ParsedConversation | SkipReason:
    """Return messages, each a role and a text, as turns of a user's and an assistant's text.

    A first message of the role ``system`` is the system prompt.
    """
    system = ""
    if messages and messages[0][0] == "system":
        system, messages = messages[0][1].strip(), messages[1:]
    questions, responses = messages[::2], messages[1::2]
    in_order = (
        len(questions) == len(responses) > 0
        and all(role in _USER_ROLES for role, _ in questions)
        and all(role in _ASSISTANT_ROLES for role, _ in responses)
    )
    if not in_order:
        return "turns out of order"
    if not all(text.strip() for _, text in messages):
        return "blank"
    pairs = zip(questions, responses, strict=True)
    return ParsedConversation(
        system, [Turn(question, response) for (_, question), (_, response) in pairs]
    )


FormatRow = _MathInstruct | _Numina | _OrcaMath | _ShareGpt | Gsm8kRow | MathRow
"""A checked row of one format. ``origin`` is the set that it came from, or ""."""

_ROW_TYPES: dict[Format, type[FormatRow]] = {
    "mathinstruct": _MathInstruct,
    "numina": _Numina,
    "orca-math": _OrcaMath,
    "sharegpt": _ShareGpt,
    "gsm8k": Gsm8kRow,
    "math": MathRow,
}
