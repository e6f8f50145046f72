"""Rewards of texts."""

import re
from pathlib import Path
from typing import Any

import pytest

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import AnswerKind, Problem
from stages.lib.generations.requests import truncate_at_stop
from stages.lib.grpo.rewards import answer_reward, format_reward, load_rewards
from stages.lib.params.grpo import Reward
from tests.rows import make_problem


def problem(answer: str, kind: AnswerKind = "number", choices: tuple[str, ...] = ()) -> Problem:
    return make_problem("p", answer=answer, kind=kind, choices=list(choices))


@pytest.mark.parametrize(
    ("source", "text", "reward"),
    [
        (problem("6"), "5 + 1 = 6. The answer is 6.", 1.0),
        (problem("6"), "5 + 1 = 6", 1.0),
        (problem("6"), "5 + 1 = 7. The answer is 7.", 0.0),
        (problem("6"), "The answer is 6. Wait, the answer is 7.", 0.0),
        (problem("6"), "", 0.0),
        (problem("12.9"), "The answer is 12.90.", 1.0),
        (problem("1/2", "expression"), "8/16 = 1/2. The answer is 1/2.", 1.0),
        (problem("1/2", "expression"), "The answer is 2.", 0.0),
        (problem("B", "choice", ("3", "4")), "The answer is B.", 1.0),
        (problem("B", "choice", ("3", "4")), "The answer is (A).", 0.0),
        # The same text, another kind: a number is no option's letter.
        (problem("4"), "The answer is B.", 0.0),
    ],
)
def test_a_right_answer_of_the_problems_kind_earns_1(
    source: Problem, text: str, reward: float
) -> None:
    assert answer_reward(source, text) == reward


@pytest.mark.parametrize(
    ("text", "ended", "reward"),
    [
        ("5 + 1 = 6. The answer is 6.", True, 1.0),
        ("5 + 1 = 6. The answer is 6.\n", True, 1.0),
        ("The answer is 12.9", True, 1.0),
        ("The answer is 1/2.", False, 0.5),
        ("5 + 1 = 6.", True, 0.5),
        ("5 + 1 = 6.", False, 0.0),
        ("the answer: 6.", True, 0.5),
        ("The answer is 6. That was easy.", True, 0.5),
        ("The answer is 6.\nThe answer is 7.", True, 0.5),
        ("The answer is 6. The answer is 6.", True, 0.5),
        ("The answer is ", True, 0.5),
        ("The answer is .", True, 0.5),
        ("", True, 0.5),
        ("", False, 0.0),
    ],
)
def test_the_form_is_half_the_last_sentence_and_half_the_end(
    text: str, ended: bool, reward: float
) -> None:
    assert format_reward(text, ended=ended) == reward


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("6\n### Instruction", ["### Instruction"], "6\n"),
        ("a STOP b END c", ["END", "STOP"], "a "),
        ("6", ["### Instruction"], "6"),
        ("6", [], "6"),
        ("STOP", ["STOP"], ""),
    ],
)
def test_what_follows_a_stop_text_does_not_count(text: str, stops: list[str], kept: str) -> None:
    assert truncate_at_stop(text, stops) == kept


def own(module: Path, name: str, **options: Any) -> dict[str, Reward]:
    values = {"function": f"{module.stem}:{name}", "weight": 0.5, "options": options}
    return {"own": Reward.model_validate(values)}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a user's module of rewards, where Python finds it."""
    path = tmp_path / f"rewards_{tmp_path.name}.py"
    path.write_text(
        "def brief(text, problem, ended, most=9):\n"
        "    return len(text) <= most and problem.answer in text and ended\n"
        "def nothing(text, problem, ended):\n"
        "    return None\n"
        "def other(text):\n"
        "    return float('nan')\n"
        "nan = lambda **_: float('nan')\n"
        "PI = 3\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return path


def test_a_users_reward_is_imported_with_its_weight_and_the_hash_of_its_file(module: Path) -> None:
    (reward,) = load_rewards(own(module, "brief", most=3))
    assert (reward.name, reward.weight, reward.source) == ("own", 0.5, file_sha256(module))
    assert reward.score("= 6", problem("6"), ended=True) == 1.0
    assert reward.score("== 6", problem("6"), ended=True) == 0.0
    assert reward.score("= 6", problem("6"), ended=False) == 0.0


@pytest.mark.parametrize("name", ["nothing", "nan"])
def test_a_reward_that_is_no_finite_number_is_an_error(module: Path, name: str) -> None:
    (reward,) = load_rewards(own(module, name))
    message = r"^grpo\.rewards\.own: (None|nan) for problem p: expected a finite number$"
    with pytest.raises(ValueError, match=message):
        reward.score("", problem("6"), ended=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("brief", {"least": 1}, "expected a function of text, problem, ended, least: got an unexp"),
        ("other", {}, "expected a function of text, problem, ended: got an unexpected keyword"),
        ("absent", {}, "expected a function of the module "),
        ("PI", {}, "expected a function of the module "),
    ],
)
def test_a_function_that_cannot_be_called_is_named(
    module: Path, name: str, options: dict[str, Any], message: str
) -> None:
    path = re.escape(f"grpo.rewards.own.function: '{module.stem}:{name}': {message}")
    with pytest.raises(ValueError, match=f"^{path}"):
        load_rewards(own(module, name, **options))


@pytest.mark.parametrize(
    ("source", "message"),
    [("import no_such_module", "ModuleNotFoundError: No mod"), ("1 / 0", "ZeroDivisionError: div")],
)
def test_a_module_that_cannot_be_imported_is_named(module: Path, source: str, message: str) -> None:
    module.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=f"own.function: .*cannot be imported: {message}") as error:
        load_rewards(own(module, "brief"))
    assert "\n" not in str(error.value)
