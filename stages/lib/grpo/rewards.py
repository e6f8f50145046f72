"""Rewards of a completion: built-in ones for the answer and its format, and functions of users.

A correct answer is one that the grader accepts, in any format. The format is that of the
worked solutions: the text ends with "The answer is X.", written once, and then the turn ends.

A user's reward is a function of a completion's ``text`` up to the first stop text, its
``problem`` (``stages.lib.core.schema.Problem``), whether the model ``ended`` its turn, and the
options of its entry in ``grpo.rewards``. It is called with keywords, in the process that trains,
and returns a finite number.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import Problem
from stages.lib.grading.grader import solves
from stages.lib.params.grpo import Reward

_MARKER = "The answer is "

_NEXT_SENTENCE = re.compile(r"[.!?]\s|\n")


@dataclass(frozen=True)
class RewardFunction:
    """A reward by its name, with its weight and the options that its function is called with.

    ``source`` is the SHA-256 of the file of a user's function, empty if it is built in.
    """

    name: str
    weight: float
    function: Callable[..., float]
    options: Mapping[str, Any]
    source: str = ""

    def score(self, text: str, problem: Problem, *, ended: bool) -> float:
        """Return the reward, unweighted. Raises ValueError if it is not a finite number."""
        value = self.function(text=text, problem=problem, ended=ended, **self.options)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(
                f"grpo.rewards.{self.name}: {value!r} for problem {problem.id}: "
                "expected a finite number"
            )
        return float(value)


def load_rewards(rewards: Mapping[str, Reward]) -> list[RewardFunction]:
    """Return the functions of ``grpo.rewards``; import those of the user.

    Raises ValueError naming a function that cannot be imported or called.
    """
    return [
        RewardFunction(name, reward.weight, _BUILT_IN[name], {})
        if reward.function is None
        else _import_reward(name, reward, reward.function)
        for name, reward in rewards.items()
    ]


def weighted_sum(rewards: Sequence[RewardFunction], scores: Sequence[float]) -> float:
    """Return the reward of a completion with these scores, one for each of the rewards."""
    return sum(reward.weight * score for reward, score in zip(rewards, scores, strict=True))


def answer_reward(problem: Problem, text: str) -> float:
    """Return 1 for a correct answer, 0 for any other."""
    return float(solves(problem, text))


def format_reward(text: str, *, ended: bool) -> float:
    """Return 0.5 for writing the answer last and once, plus 0.5 for ending the turn."""
    return (_ends_with_answer(text) + ended) / 2


def _ends_with_answer(text: str) -> bool:
    answer = text.partition(_MARKER)[2].strip()
    is_last = _NEXT_SENTENCE.search(answer) is None
    return answer.strip(".") != "" and _MARKER not in answer and is_last


_BUILT_IN: dict[str, Callable[..., float]] = {
    "answer": lambda text, problem, ended: answer_reward(problem, text),  # noqa: ARG005
    "format": lambda text, problem, ended: format_reward(text, ended=ended),  # noqa: ARG005
}


def _import_reward(name: str, reward: Reward, path: str) -> RewardFunction:
    where = f"grpo.rewards.{name}.function: '{path}'"
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"{where}: cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"{where}: expected a function of the module {module_name}")
    try:
        inspect.signature(function).bind(text="", problem=None, ended=True, **reward.options)
    except TypeError as error:
        arguments = ", ".join(["text", "problem", "ended", *reward.options])
        raise ValueError(f"{where}: expected a function of {arguments}: {error}") from error
    source = inspect.getsourcefile(module)
    digest = "" if source is None else file_sha256(Path(source))
    own = cast(Callable[..., float], function)
    return RewardFunction(name, reward.weight, own, reward.options, digest)
