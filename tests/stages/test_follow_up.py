"""The follow-up questions, for answers that match none of the options."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from stages import follow_up
from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Generation, Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import answer_store, follow_up_store
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from tests.stages.conftest import Change


class FakeEngine:
    """Replies with the prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        assert sampling.temperature == 0
        for number, batch in enumerate(batches):
            prompts = [str(self.tokenizer.decode(list(request.prompt))) for request in batch]
            yield number, [GeneratedText(prompt, "stop", 1) for prompt in prompts]


@pytest.fixture
def problems(with_problems: Change, tiny_base: Path) -> list[Problem]:
    """Enter a folder with benchmarks and a model; return the two problems with options."""
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    return read_parquet(EVAL_PROBLEMS / "aqua.parquet", Problem)


def answer(problem: Problem, text: str, shots: int = 0) -> Generation:
    return Generation(
        problem_id=problem.id,
        model="m",
        prompting="cot",
        shots=shots,
        index=0,
        text=text,
        finish_reason="stop",
        n_tokens=1,
        prompt_sha=str(shots),
    )


def test_answers_that_match_no_option_get_a_question(
    problems: list[Problem],
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine(tokenizer)
    monkeypatch.setattr("stages.lib.inference.engine.Engine", lambda *_: engine)
    first, second = problems
    (other, *_) = read_parquet(EVAL_PROBLEMS / "ladder.parquet", Problem)
    rows = [answer(first, "The answer is B."), answer(second, "The answer is 77.", shots=1)]
    answer_store("base").append([*rows, answer(other, "The answer is 77.")])
    follow_up.main("base")
    (reply,) = follow_up_store("base").rows()
    assert (reply.problem_id, reply.prompting, reply.shots) == (second.id, "cot", 1)
    assert "Please find the closest option to 77. The options are (A) 3 (B) 6" in reply.text


@pytest.mark.usefixtures("problems")
def test_a_model_that_was_not_evaluated_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="data/answers/base: no answers to problems with"):
        follow_up.main("base")
    assert not follow_up_store("base").folder.exists()
