"""Rewards of completions that are given as tokens."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages.lib.core.schema import Problem
from stages.lib.grpo.rewards import load_rewards
from stages.lib.grpo.scoring import Scorer
from stages.lib.params.grpo import Reward
from tests.lib.grpo.test_rewards import problem

END = 7
CALLS: list[str] = []


def length(text: str, problem: Problem, ended: bool, most: int = 100) -> float:
    CALLS.append(text)
    assert problem.answer in "56"
    return min(len(text), most) / 10 + ended


def first(text: str, problem: Problem, ended: bool) -> float:
    return 0.1 if text == "x" else 0.3


def second(text: str, problem: Problem, ended: bool) -> float:
    return 0.2 if text == "x" else 0.0


def scorer(tokenizer: PreTrainedTokenizerFast, **rewards: Any) -> Scorer:
    checked = {name: Reward.model_validate(value) for name, value in rewards.items()}
    return Scorer([problem("5"), problem("6")], load_rewards(checked), tokenizer, {END}, ["STOP"])


def ids(tokenizer: PreTrainedTokenizerFast, text: str, *, ended: bool = False) -> list[int]:
    return [*tokenizer(text)["input_ids"], *([END] if ended else [])]


def test_rewards_are_of_the_sampled_problem_and_stop_at_a_stop_text(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    scores = scorer(tokenizer, answer=1.0, format=0.2)
    answer, form = scores.functions()
    assert [function.__name__ for function in (answer, form)] == ["answer", "format"]
    texts = ["The answer is 6.", "The answer is 6.", "The answer is 5. STOP The answer is 6."]
    completions = [ids(tokenizer, text) for text in texts]
    assert answer(problem_index=[0, 1, 0], completion_ids=completions, more=1) == [0.0, 1.0, 1.0]
    assert form(problem_index=[0, 1, 0], completion_ids=completions) == [0.5, 0.5, 0.5]
    assert scores.reward(1, completions[1]) == pytest.approx(1.1)


def test_groups_have_a_signal_if_weighted_rewards_differ(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    whole, bare = ids(tokenizer, "The answer is 6."), ids(tokenizer, "It is 6.")
    scores = scorer(tokenizer, answer=1.0, format=0.2)
    assert scores.has_signal(1, [whole, bare])
    assert not scores.has_signal(1, [whole, whole])
    # A reward that is only logged gives no signal.
    assert not scorer(tokenizer, answer=1.0, format=0.0).has_signal(1, [whole, bare])


def test_rounding_of_sums_is_no_signal(tokenizer: PreTrainedTokenizerFast) -> None:
    paths = {name: f"tests.lib.grpo.test_scoring:{name}" for name in ("first", "second")}
    rewards = {name: {"weight": 1.0, "function": path} for name, path in paths.items()}
    scores = scorer(tokenizer, **rewards)
    group = [ids(tokenizer, "x"), ids(tokenizer, "y")]
    assert scores.reward(0, group[0]) != scores.reward(0, group[1])  # 0.1 + 0.2 and 0.3
    assert not scores.has_signal(0, group)


def test_a_users_function_gets_text_problem_end_and_options_once(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    CALLS.clear()
    path = {"function": f"{__name__}:length", "weight": 0.5, "options": {"most": 4}}
    scores = scorer(tokenizer, answer=1.0, length=path)
    completion = ids(tokenizer, "abcdef STOP", ended=True)
    for _ in range(2):
        assert scores.scores(0, completion) == (0.0, 1.4)
    assert scores.reward(0, completion) == pytest.approx(0.7)
    assert CALLS == ["abcdef "]
    scores.forget()
    scores.scores(0, completion)
    assert len(CALLS) == 2
