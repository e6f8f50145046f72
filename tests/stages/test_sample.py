"""What the base model is asked, and in which order."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages import prepare, sample
from stages.lib.generation import Request
from stages.lib.paths import TRAIN_PROBLEMS
from stages.lib.records import Problem, read_parquet
from tests.stages.conftest import Change


@pytest.fixture
def asked(
    change: Change, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], list[Request]]:
    """Return what the stage asks for, with a list of promptings."""
    got: list[Request] = []

    def fill(_store: object, requests: Sequence[Request], **_: Any) -> None:
        got[:] = requests

    monkeypatch.setattr(sample, "fill", fill)
    monkeypatch.setattr(sample.models, "load_tokenizer", lambda _: tokenizer)
    monkeypatch.setattr(sample.models, "fingerprint", lambda _: "m")
    prepare.main()

    def ask(promptings: list[str]) -> list[Request]:
        change({"sample.prompting": promptings})
        sample.main()
        return list(got)

    return ask


def test_every_problem_once_a_round_and_programs_behind_all_reasoning(
    asked: Callable[[list[str]], list[Request]], tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = [problem.id for problem in read_parquet(TRAIN_PROBLEMS, Problem)]
    reasoned = asked(["cot"])
    assert [(one.problem_id, one.prompting, one.index) for one in reasoned] == [
        (of, "cot", index) for index in range(2) for of in ids
    ]
    both = asked(["cot", "pot"])
    assert both[: len(reasoned)] == reasoned
    programs = both[len(reasoned) :]
    assert [(one.problem_id, one.prompting, one.index) for one in programs] == [
        (of, "pot", index) for index in range(2) for of in ids
    ]
    for one in programs:
        assert tokenizer.decode(list(one.prompt)).count("Let's write a program.") == 2
