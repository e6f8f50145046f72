"""What is asked of a model, and a mistake that is named before anything is loaded."""

import pytest
from transformers import PreTrainedTokenizerFast

from stages import evaluate
from stages.lib.params.load import load_params
from tests.stages.conftest import Change


def test_a_model_that_is_not_to_be_evaluated_is_named(change: Change) -> None:
    change({"evaluate.models.base": [0]})
    with pytest.raises(
        ValueError, match=r"^evaluate\.models: 'nobody': expected one of \['base', "
    ):
        evaluate.main("nobody")


def test_every_number_of_shots_is_asked(
    with_problems: Change, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "load_tokenizer", lambda _: tokenizer)
    with_problems({"evaluate.models.base": [0, 1]})
    requests = evaluate.benchmark_requests("base", load_params())
    first, second = (
        [(request.problem_id, request.prompting) for request in requests if request.shots == shots]
        for shots in (0, 1)
    )
    assert first == second
    assert len(first) * 2 == len(requests) > 0
