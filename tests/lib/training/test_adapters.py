"""Adapters on a tiny model: trained alone, resumed, merged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from stages.lib.core.files import file_sha256
from stages.lib.params.training import AdapterTuning, FullTuning
from stages.lib.sft.trainer import train
from stages.lib.training import adapters as training_adapters
from stages.lib.training.adapters import (
    load_trainable,
    merge_adapters,
    parameter_counts,
    unwrap,
    with_adapters,
)
from tests.conftest import tiny_model
from tests.lib.sft.test_batches import example, planned, settings
from tests.lib.sft.test_trainer import Beginnings

IDS = torch.arange(40).unsqueeze(0)


def adapters(**changes: Any) -> AdapterTuning:
    values = {
        "method": "lora",
        "r": 4,
        "alpha": 8,
        "dropout": 0.1,
        "targets": ["q_proj", "down_proj"],
        "optimizer": "adamw",
    }
    return AdapterTuning(**(values | changes))


LORA, QLORA = adapters(), adapters(method="qlora")
WAYS = [LORA, QLORA, adapters(method="qlora", optimizer="paged_adamw_8bit")]


def trained(
    base: Path,
    tokenizer: PreTrainedTokenizerFast,
    tuning: AdapterTuning,
    folder: Path,
    watching: Sequence[TrainerCallback] = (),
) -> tuple[list[dict[str, float]], PeftModel]:
    chosen = settings(tuning=tuning, learning_rate=1e-2, save_every=2)
    model = load_trainable(base, tuning, seed=1)
    assert isinstance(model, PeftModel)
    rows = planned([example(number) for number in range(9)], tokenizer, chosen)
    with tqdm(disable=True) as progress:
        fitted = train(model, tokenizer, rows, chosen, folder, progress, watching=watching)
    return fitted.log, model


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits.float()


@pytest.mark.parametrize("tuning", WAYS)
def test_adapters_alone_are_trained_in_32_bit(
    tiny_base: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, tuning: AdapterTuning
) -> None:
    log, model = trained(tiny_base, tokenizer, tuning, tmp_path)
    assert log[-1]["loss"] < log[0]["loss"] - 0.2
    before = load_trainable(tiny_base, tuning, seed=1).state_dict()
    for name, value in model.state_dict().items():
        assert ("lora_" in name) != torch.equal(value, before[name]), name
        assert ("lora_" in name) <= (value.dtype == torch.float32), name


@pytest.mark.parametrize("tuning", WAYS)
def test_a_killed_run_with_adapters_ends_with_the_same_bytes(
    tiny_base: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, tuning: AdapterTuning
) -> None:
    log, whole = trained(tiny_base, tokenizer, tuning, tmp_path / "whole")
    trained(tiny_base, tokenizer, tuning, tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "checkpoint-4"
    assert (checkpoint / "adapter_model.safetensors").exists()
    assert not (checkpoint / "model.safetensors").exists()
    (checkpoint / "complete").unlink()
    begun = Beginnings()
    resumed_log, resumed = trained(tiny_base, tokenizer, tuning, tmp_path / "killed", [begun])
    assert begun.steps == [2]
    assert resumed_log == log
    hashes = []
    for name, model in [("a", whole), ("b", resumed)]:
        merge_adapters(model).save_pretrained(tmp_path / name)
        hashes.append(file_sha256(tmp_path / name / "model.safetensors"))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("tuning", [LORA, QLORA])
def test_merged_and_unmerged_logits_agree(
    tiny_base: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    tuning: AdapterTuning,
) -> None:
    start = logits(load_trainable(tiny_base, tuning, seed=1))
    _, model = trained(tiny_base, tokenizer, tuning, tmp_path / "checkpoints")
    unwrap(model).set_attn_implementation("sdpa")
    unmerged = logits(model)
    merge_adapters(model).save_pretrained(tmp_path / "saved")
    # As evaluation and quantization load it.
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)
    # Merged weights are rounded to bf16, whose resolution is 1/256.
    difference = (logits(loaded) - unmerged).abs().max()
    assert difference < 0.02 * (unmerged - start).abs().max() + 0.01


def test_in_32_bit_merged_and_unmerged_logits_agree_closely(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = with_adapters(tiny_model(tokenizer), LORA, seed=1)
    for name, param in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(param)
    unmerged = logits(model)
    torch.testing.assert_close(logits(merge_adapters(model)), unmerged, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tuning", [LORA, QLORA])
def test_a_merged_model_is_an_ordinary_one(tiny_base: Path, tuning: AdapterTuning) -> None:
    model = merge_adapters(load_trainable(tiny_base, tuning, seed=1))
    full = load_trainable(tiny_base, FullTuning(method="full"), seed=1)
    assert merge_adapters(full) is full
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in full.state_dict().items()
    }
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}
    assert "quantization_config" not in model.config.to_dict()


@pytest.mark.parametrize(("local_rank", "gpu"), [(None, 0), ("0", 0), ("3", 3)])
def test_each_process_loads_4_bit_weights_on_its_own_gpu(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    local_rank: str | None,
    gpu: int,
) -> None:
    asked: list[dict[str, Any]] = []

    def load(*_: Any, **options: Any) -> PreTrainedModel:
        asked.append(options)
        return tiny_model(tokenizer)

    monkeypatch.setattr(training_adapters, "load_model", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    load_trainable(Path("base"), QLORA, seed=1)
    assert asked[0]["device_map"] == {"": gpu}


def test_a_target_that_the_model_lacks_is_named(tiny_base: Path) -> None:
    with pytest.raises(
        ValueError, match=r"train\.tuning\.targets .*\['q_prj'\].*'q_proj'"
    ) as error:
        load_trainable(tiny_base, adapters(targets=["v_proj", "q_prj"]), seed=1)
    assert "\n" not in str(error.value)
    assert "lm_head" not in str(error.value)


@pytest.mark.parametrize("tuning", [LORA, QLORA])
def test_parameters_are_counted(tiny_base: Path, tuning: AdapterTuning) -> None:
    base = parameter_counts(load_trainable(tiny_base, FullTuning(method="full"), seed=1))
    assert base["share"] == 1
    counts = parameter_counts(load_trainable(tiny_base, tuning, seed=1))
    # Two layers; q_proj is 64 x 64, down_proj 64 x 128; r is 4.
    assert counts["trainable"] == 2 * (4 * (64 + 64) + 4 * (64 + 128))
    assert counts["total"] == base["total"] + counts["trainable"]
    assert counts["share"] == counts["trainable"] / counts["total"]
