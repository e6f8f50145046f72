"""The requests of the first round, and their order."""

import pytest
from transformers import PreTrainedTokenizerFast

from stages import sample
from stages.lib.core.paths import TRAIN_PROBLEMS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.generations.requests import Request
from stages.lib.params.load import load_params
from tests.stages.conftest import Change


def test_every_problem_once_per_sample_and_programs_after_all_reasoning(
    with_problems: Change, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "load_tokenizer", lambda _: tokenizer)
    ids = [problem.id for problem in read_parquet(TRAIN_PROBLEMS, Problem)]

    def requests_of(promptings: list[str]) -> list[Request]:
        with_problems({"sample.prompting": promptings})
        return sample.sample_requests(load_params())

    reasoning, both = requests_of(["cot"]), requests_of(["cot", "pot"])
    programs = both[len(reasoning) :]
    assert both[: len(reasoning)] == reasoning
    for prompting, requests in (("cot", reasoning), ("pot", programs)):
        assert [(request.problem_id, request.prompting, request.index) for request in requests] == [
            (problem_id, prompting, index) for index in range(2) for problem_id in ids
        ]
    for request in programs:
        assert tokenizer.decode(list(request.prompt)).count("Let's write a program.") == 2
