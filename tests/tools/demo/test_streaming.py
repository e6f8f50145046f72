import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from stages.lib.params.load import load_params
from stages.lib.prompts.templates import question_prompt
from tests.conftest import REPOSITORY, TAUGHT
from tools.demo import streaming
from tools.demo.problems import QUESTION
from tools.demo.streaming import INCOMPLETE, LoadedModel, ModelCache, side_by_side, write

PROMPT = tuple(range(40, 60))


def texts(speaker: LoadedModel, limit: int, *stops: str) -> list[str]:
    return [one.text for one in write(speaker, PROMPT, limit=limit, stops=stops)]


def test_an_answer_is_that_of_greedy_generation(tiny_base: Path, taught: Path) -> None:
    for folder, ended in ((tiny_base, "length"), (taught, "stop")):
        speaker = streaming.load(folder)
        prompts = load_params(REPOSITORY / "params.yaml").prompts
        prompt = question_prompt(speaker.tokenizer, prompts, QUESTION)
        *_, last = write(speaker, prompt, limit=len(TAUGHT["cot"]) + 1, stops=())
        made = cast(Any, speaker.model).generate(
            torch.tensor([prompt]), max_new_tokens=100, do_sample=False, pad_token_id=0
        )[0, len(prompt) :][: last.tokens]
        assert last.ended == ended
        assert last.text == speaker.tokenizer.decode(made, skip_special_tokens=True)
        assert (int(made[-1]) in speaker.ends) == (ended == "stop")


def test_a_model_may_have_several_tokens_that_end_an_answer(terse: Path) -> None:
    assert streaming.load(terse).ends == set(range(0, 320, 4))


def test_an_answer_grows_by_whole_characters_and_says_how_fast(tiny_base: Path) -> None:
    speaker = streaming.load(tiny_base)
    written = list(write(speaker, PROMPT, limit=12, stops=()))
    assert [one.tokens for one in written] == list(range(1, 13))
    assert [one.ended for one in written] == [""] * 11 + ["length"]
    assert not any(one.text.endswith(INCOMPLETE) for one in written[:-1])
    assert written[0].rate is None
    assert len({one.first_s for one in written}) == 1
    assert all(one.rate and one.rate > 0 for one in written[1:])


def test_an_answer_ends_before_a_stop_text(taught: Path) -> None:
    speaker = streaming.load(taught)
    whole = texts(speaker, 40)[-1]
    stop = whole[len(whole) // 2 :][:3]
    *_, last = write(speaker, PROMPT, limit=40, stops=("never in it", stop))
    assert stop
    assert last.text == whole.partition(stop)[0]
    assert last.ended == "stop"


def test_only_so_many_models_are_kept_and_a_changed_one_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(streaming, "load", lambda folder: loaded.append(folder.name) or object())
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    kept = ModelCache(2)
    first = kept.get(tmp_path / "a")
    for name in "bab":
        kept.get(tmp_path / name)
    assert loaded == ["a", "b"]
    kept.get(tmp_path / "c")
    assert kept.get(tmp_path / "b") and loaded == ["a", "b", "c"]
    assert kept.get(tmp_path / "a") is not first
    (tmp_path / "a" / "model.safetensors").write_bytes(b"x")
    kept.get(tmp_path / "a")
    assert loaded == ["a", "b", "c", "a", "a"]


def test_two_sources_run_at_once_and_the_latest_values_come_out() -> None:
    met = threading.Barrier(2)

    def count(to: int) -> Iterator[int]:
        met.wait(60)
        yield from range(to + 1)

    values = list(side_by_side([count(3), count(5)], 0.001))
    assert values[-1] == [3, 5]
    for earlier, later in zip(values, values[1:], strict=False):
        assert all(
            a is None or (b is not None and a <= b) for a, b in zip(earlier, later, strict=True)
        )


def test_what_a_source_raises_is_raised() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(side_by_side([iter([1]), broken()], 0.001))


def test_closing_stops_every_source() -> None:
    ended = [threading.Event(), threading.Event()]

    def endless(over: threading.Event) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            over.set()

    running = side_by_side([endless(over) for over in ended], 0.001)
    next(running)
    running.close()
    assert all(over.wait(60) for over in ended)
