"""What is asked of a model, and a mistake that is named before anything is loaded."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from stages import evaluate
from stages.lib.generations.answers import answer_store, sampled_store
from stages.lib.generations.requests import Sampling
from stages.lib.params.load import load_params
from tests.rows import make_generation
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


def test_samples_are_counted_from_one_and_others_are_removed(
    with_problems: Change, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "load_tokenizer", lambda _: tokenizer)
    sampling = {"samples": 3, "temperature": 0.8, "top_p": 0.9, "seed": 5}
    with_problems({"evaluate.sampling": sampling, "prompts.stop": ["END"]})
    requests = evaluate.benchmark_requests("base", load_params())
    greedy, (store, wanted, settings) = evaluate.greedy_and_sampled("base", requests, load_params())
    assert greedy[0].folder == answer_store("base").folder != store.folder
    assert greedy[1:] == (requests, Sampling(0.0, 1.0, 0, ("END",)))
    assert (store.folder, settings) == (
        sampled_store("base").folder,
        Sampling(0.8, 0.9, 5, ("END",)),
    )
    assert [request.index for request in wanted] == [index for index in (1, 2, 3) for _ in requests]
    assert len({request.seed(settings) for request in wanted}) == len(wanted)
    with_problems({"evaluate.sampling": None})
    *_, (store, wanted, _) = evaluate.greedy_and_sampled("base", requests, load_params())
    assert (store.folder, wanted) == (sampled_store("base").folder, [])


@pytest.mark.parametrize(
    ("cut", "logged"), [(17, ""), (18, "evaluate tuned: 18 of 20 answers end")]
)
def test_a_model_whose_answers_are_cut_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cut: int,
    logged: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    reasons = ["length"] * cut + ["stop"] * (20 - cut)
    answer_store("tuned").append(
        [make_generation(f"p{n}", "cot", finish_reason=reason) for n, reason in enumerate(reasons)]
    )
    evaluate.warn_if_cut("tuned")
    text = capsys.readouterr().err
    assert text.startswith(logged) if logged else not text
