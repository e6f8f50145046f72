"""The follow-up questions, for answers that match none of the options."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import PreTrainedTokenizerFast

from stages import follow_up
from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import answer_store, follow_up_store, sampled_store
from stages.lib.generations.requests import GeneratedText, Request, Sampling
from tests.rows import make_generation
from tests.stages.conftest import Change


class FakeEngine:
    """Replies with the prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def generate_batches(
        self, batches: Sequence[Sequence[Request]], sampling: Sampling, _: object
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


def test_answers_that_match_no_option_get_a_question(
    problems: list[Problem], tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of the whole module, whose import takes many seconds.
    module = SimpleNamespace(Engine=lambda *_: FakeEngine(tokenizer))
    monkeypatch.setitem(sys.modules, "stages.lib.inference.engine", module)
    first, second = problems
    (other, *_) = read_parquet(EVAL_PROBLEMS / "ladder.parquet", Problem)
    rows = [
        make_generation(first.id, "cot", text="The answer is B."),
        make_generation(second.id, "cot", shots=1, text="The answer is 77."),
        make_generation(other.id, "cot", text="The answer is 77."),
    ]
    answer_store("base").append(rows)
    sampled_store("base").append([make_generation(first.id, "cot", index=2, text="It is 77.")])
    follow_up.main("base")
    reply, of_sample = follow_up_store("base").rows()
    assert (of_sample.problem_id, of_sample.index, reply.index) == (first.id, 2, 0)
    assert (reply.problem_id, reply.prompting, reply.shots) == (second.id, "cot", 1)
    assert "Please find the closest option to 77. The options are (A) 3 (B) 6" in reply.text


@pytest.mark.usefixtures("problems")
def test_a_model_that_was_not_evaluated_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="data/answers/base: no answers to problems with"):
        follow_up.main("base")
    assert not follow_up_store("base").folder.exists()
