import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import GenerationConfig

from stages.lib.params.load import load_params
from stages.lib.prompts.templates import question_prompt
from tests.conftest import REPOSITORY, TAUGHT
from tools.demo import models
from tools.demo.models import LoadedModel, ModelCache, stream
from tools.demo.problems import QUESTION


def question_ids(loaded: LoadedModel) -> tuple[int, ...]:
    prompts = load_params(REPOSITORY / "params.yaml").prompts
    return question_prompt(loaded.tokenizer, prompts, QUESTION)


def test_an_answer_is_the_most_likely_token_each_time(tiny_base: Path, taught: Path) -> None:
    whole = len(TAUGHT["cot"]) + 1
    for folder, limit, finish_reason in ((tiny_base, 20, "length"), (taught, whole, "stop")):
        loaded = models.load(folder)
        prompt = question_ids(loaded)
        *_, last = stream(loaded, prompt, limit=limit, stops=())
        ids = list(prompt)
        for _ in range(last.tokens):
            logits = cast(Any, loaded.model)(input_ids=torch.tensor([ids])).logits
            ids.append(int(logits[0, -1].argmax()))
        answer = ids[len(prompt) :]
        assert last.finish_reason == finish_reason
        assert last.text == loaded.tokenizer.decode(answer, skip_special_tokens=True)
        assert (answer[-1] in loaded.end_tokens) == (finish_reason == "stop")


def test_saved_sampling_settings_are_ignored_but_not_end_tokens(
    tmp_path: Path, terse: Path
) -> None:
    shutil.copytree(terse, tmp_path, dirs_exist_ok=True)
    saved = GenerationConfig.from_pretrained(terse)
    saved.update(do_sample=True, temperature=0.5, repetition_penalty=1.5)
    saved.save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    config = cast(Any, loaded.model.generation_config)
    assert loaded.end_tokens == config.eos_token_id == list(range(0, 320, 4))
    assert (config.do_sample, config.repetition_penalty) == (False, None)


def test_an_answer_grows_and_has_a_speed(taught: Path, tiny_base: Path) -> None:
    loaded = models.load(taught)
    *parts, last = stream(loaded, question_ids(loaded), limit=500, stops=())
    assert (last.text, last.tokens) == (TAUGHT["cot"], len(TAUGHT["cot"]) + 1)
    assert all(last.text.startswith(part.text) for part in parts)
    assert len({part.text for part in parts}) > 3
    assert [part.tokens for part in parts] == sorted(part.tokens for part in parts)
    assert all(part.finish_reason == "" for part in parts)
    assert last.first_s > 0 and last.rate and last.rate > 0
    *_, single = stream(models.load(tiny_base), range(40, 60), limit=1, stops=())
    assert (single.tokens, single.rate, single.finish_reason) == (1, None, "length")


def test_an_answer_ends_before_a_stop_text(taught: Path) -> None:
    loaded = models.load(taught)
    *_, last = stream(loaded, question_ids(loaded), limit=500, stops=("not in it", "img"))
    assert last.text == TAUGHT["cot"].partition("img")[0]
    assert (last.finish_reason, last.tokens) == ("stop", len(last.text) + len("img"))


def test_closing_a_stream_stops_the_model(taught: Path) -> None:
    loaded = models.load(taught)
    cast(Any, loaded.model.generation_config).eos_token_id = None
    calls: list[int] = []
    loaded.model.register_forward_hook(lambda *_: calls.append(1))
    parts = stream(loaded, range(40, 60), limit=100_000, stops=())
    next(parts)
    cast(Any, parts).close()
    assert 0 < len(calls) < 1000


def test_an_error_of_the_model_is_raised(taught: Path) -> None:
    with pytest.raises(IndexError):  # a token that is not in the vocabulary
        list(stream(models.load(taught), [100_000], limit=5, stops=()))


def test_a_few_models_are_kept_and_a_changed_one_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    monkeypatch.setattr(models, "load", lambda folder: loads.append(folder.name) or object())
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    cache = ModelCache(2)
    first = cache.get(tmp_path / "a")
    for name in "bab":
        cache.get(tmp_path / name)
    assert loads == ["a", "b"]
    cache.get(tmp_path / "c")
    assert cache.get(tmp_path / "b") and loads == ["a", "b", "c"]
    assert cache.get(tmp_path / "a") is not first
    (tmp_path / "a" / "model.safetensors").write_bytes(b"x")
    cache.get(tmp_path / "a")
    assert loads == ["a", "b", "c", "a", "a"]
