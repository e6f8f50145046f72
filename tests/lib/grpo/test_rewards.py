"""Rewards of texts."""

import pytest

from stages.lib.core.schema import AnswerKind, Problem
from stages.lib.generations.requests import truncate_at_stop
from stages.lib.grpo.rewards import answer_reward, format_reward
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
