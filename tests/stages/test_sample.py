"""What the base model is asked, and in which order."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages import prepare, sample
from stages.lib.core.paths import MODELS, SAMPLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Grade, Problem
from stages.lib.core.tables import read_parquet
from stages.lib.difficulty import sequential
from stages.lib.generations.requests import Request, Sampling
from stages.lib.generations.store import Store
from stages.lib.inference import pool
from stages.lib.inference.engine import Engine
from stages.lib.models import loading
from stages.lib.params.load import load_params
from tests.stages.conftest import Change


@pytest.fixture
def asked(
    change: Change, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], list[Request]]:
    """Return what the stage asks for, with a list of promptings."""
    got: list[Request] = []

    def fill(_store: object, requests: Sequence[Request], **_: Any) -> None:
        got[:] = requests

    monkeypatch.setattr(sample, "generate_missing", fill)
    monkeypatch.setattr(loading, "load_tokenizer", lambda _: tokenizer)
    monkeypatch.setattr(sample, "model_fingerprint", lambda _: "m")
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


class Dying:
    """An engine that stops after some batches, as if killed."""

    answers = Engine.answers

    def __init__(self, engine: Engine, batches: int) -> None:
        self.engine = engine
        self.batches = batches

    def answer(self, *arguments: Any) -> list[tuple[str, str, int]]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        return self.engine.answer(*arguments)


def test_a_killed_sequential_run_ends_like_one_that_was_not(
    change: Change, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"width": 0.2, "interval": 0.9, "most": 6}
    change({"sample.sequential": rule, "sample.prompting": ["cot", "pot"]})
    prepare.main()
    MODELS.mkdir(parents=True)
    (MODELS / "base").symlink_to(tiny_base)
    # vLLM would bind this process, which other tests share, to a core.
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    engine = Engine(tiny_base, load_params().engine)
    # A random model is never right; so that rounds differ, about every other text counts as
    # right, but for short answers.
    monkeypatch.setattr(
        sequential, "grade", lambda text, answer, **_: verdict(len(answer) > 2 > len(text) % 3)
    )

    def run(batches: int) -> list[str]:
        monkeypatch.setattr(pool, "EngineConfig", lambda *_: Dying(engine, batches))
        sample.main()
        return sorted(shard.name for shard in SAMPLES.glob("*.parquet"))

    undisturbed = run(1_000)
    rows = list(Store(SAMPLES).rows())
    numbers = Counter(row.problem_id for row in rows if row.prompting == "cot")
    assert {2, 6} <= set(numbers.values()) <= {2, 4, 6}
    assert set(Counter(row.problem_id for row in rows if row.prompting == "pot").values()) == {2}
    shutil.rmtree(SAMPLES)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(4)
    assert run(1_000) == undisturbed


def verdict(right: bool) -> Grade:
    return Grade(extracted="", status="correct" if right else "wrong")


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(
    change: Change, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change({})
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    engine = Engine(tiny_base, load_params().engine)
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=3)
    requests = [Request("p", "cot", 0, index, (5, 6, 7 + index % 3), 8) for index in range(12)]
    together, reversed_ = (
        engine.answer(one, sampling, lambda _: None) for one in (requests, requests[::-1])
    )
    assert together == reversed_[::-1]
    assert together[4:6] == engine.answer(requests[4:6], sampling, lambda _: None)
    assert len({text for text, _, _ in together}) == 12
