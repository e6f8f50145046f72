"""Adapters on a tiny model: trained alone, resumed, merged."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback

from stages.lib.core.files import file_sha256
from stages.lib.models.loading import load_model
from stages.lib.models.merge import merge_adapter
from stages.lib.models.precision import compute_dtype
from stages.lib.params.training import AdapterTuning, FullTuning
from stages.lib.sft.trainer import train
from stages.lib.training import adapters as training_adapters
from stages.lib.training.adapters import (
    load_policy,
    load_trainable,
    merge_adapters,
    parameter_counts,
    save_merged,
    unwrap,
    with_adapters,
)
from tests import arms
from tests.conftest import tiny_model
from tests.lib.sft.test_batches import NINE, planned, settings
from tests.lib.sft.test_trainer import Beginnings

IDS = torch.arange(40).unsqueeze(0)


def adapters(**changes: Any) -> AdapterTuning:
    return AdapterTuning.model_validate(arms.LORA | {"dropout": 0.1} | changes)


LORA, QLORA = adapters(), adapters(method="qlora")
# With the other optimizer QLoRA is trained in the tests of GRPO.
TUNINGS = [LORA, adapters(method="qlora", optimizer="paged_adamw_8bit")]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits.float()


@dataclass(frozen=True)
class AdapterRun:
    """A training of adapters: its log and state, its logits before the merge, its folders."""

    tuning: AdapterTuning
    log: list[dict[str, Any]]
    state: dict[str, torch.Tensor]
    logits: torch.Tensor
    checkpoints: Path
    merged: Path


def trained(
    base: Path,
    tokenizer: PreTrainedTokenizerFast,
    tuning: AdapterTuning,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> AdapterRun:
    chosen = settings(tuning=tuning, learning_rate=1e-2, save_every=2)
    model = load_trainable(base, tuning, seed=1)
    assert isinstance(model, PeftModel)
    plan = planned(NINE, tokenizer, chosen)
    checkpoints, merged = folder / "checkpoints", folder / "merged"
    with tqdm(disable=True) as progress:
        output = train(model, tokenizer, plan, chosen, checkpoints, progress, callbacks=callbacks)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    unwrap(model).set_attn_implementation("sdpa")
    unmerged = logits(model)
    save_merged(model, tokenizer, merged)
    return AdapterRun(tuning, output.log, state, unmerged, checkpoints, merged)


@pytest.fixture(scope="module", params=TUNINGS, ids=["lora", "qlora-8bit"])
def run(
    request: pytest.FixtureRequest,
    tiny_base: Path,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> AdapterRun:
    return trained(tiny_base, tokenizer, request.param, tmp_path_factory.mktemp("adapters"))


def test_adapters_alone_are_trained_in_32_bit(tiny_base: Path, run: AdapterRun) -> None:
    assert run.log[-1]["loss"] < run.log[0]["loss"] - 0.2
    before = load_trainable(tiny_base, run.tuning, seed=1).state_dict()
    for name, value in run.state.items():
        assert ("lora_" in name) != torch.equal(value, before[name]), name
        assert ("lora_" in name) <= (value.dtype == torch.float32), name


def test_a_killed_run_with_adapters_ends_with_the_same_bytes(
    tiny_base: Path, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, run: AdapterRun
) -> None:
    checkpoint = tmp_path / "checkpoints" / "checkpoint-4"
    shutil.copytree(run.checkpoints, checkpoint.parent)
    assert (checkpoint / "adapter_model.safetensors").exists()
    assert not (checkpoint / "model.safetensors").exists()
    (checkpoint / "complete").unlink()
    beginnings = Beginnings()
    resumed = trained(tiny_base, tokenizer, run.tuning, tmp_path, [beginnings])
    assert beginnings.steps == [2]
    assert resumed.log == run.log
    hashes = {file_sha256(path / "model.safetensors") for path in (run.merged, resumed.merged)}
    assert len(hashes) == 1


def test_merged_and_unmerged_logits_agree(tiny_base: Path, run: AdapterRun) -> None:
    start = logits(load_trainable(tiny_base, run.tuning, seed=1))
    # As evaluation and quantization load it.
    saved = load_file(run.merged / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    loaded = load_model(run.merged, compute_dtype())
    # Merged weights are rounded to bf16, whose resolution is 1/256.
    difference = (logits(loaded) - run.logits).abs().max()
    assert difference < 0.02 * (run.logits - start).abs().max() + 0.01


def test_the_adapter_is_kept_beside_the_merged_model(
    tiny_base: Path, run: AdapterRun, tmp_path: Path
) -> None:
    adapter = run.merged / "adapter"
    files = {path.name for path in adapter.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    targets = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(run.tuning.targets)
    saved = load_file(adapter / "adapter_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    assert len(saved) == sum("lora_" in name for name in run.state)
    # On the base that QLoRA rounds to NF4 it was trained beside other weights.
    if run.tuning.method == "lora":
        merge_adapter(tiny_base, adapter, tmp_path / "again")
        again, merged = (
            load_model(path, torch.float32) for path in (tmp_path / "again", run.merged)
        )
        # Once summed in 32 bits, once in the precision of training.
        torch.testing.assert_close(logits(again), logits(merged), rtol=0.02, atol=0.02)


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
def test_parameters_are_counted_and_a_merged_model_is_an_ordinary_one(
    tiny_base: Path, tuning: AdapterTuning
) -> None:
    full = load_trainable(tiny_base, FullTuning(method="full", optimizer="adamw"), seed=1)
    base = parameter_counts(full)
    assert base["share"] == 1
    tuned = load_trainable(tiny_base, tuning, seed=1)
    counts = parameter_counts(tuned)
    # Two layers; q_proj is 64 x 64, down_proj 64 x 128; r is 4.
    assert counts["trainable"] == 2 * (4 * (64 + 64) + 4 * (64 + 128))
    assert counts["total"] == base["total"] + counts["trainable"]
    assert counts["share"] == counts["trainable"] / counts["total"]
    model = merge_adapters(tuned)
    assert merge_adapters(full) is full
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in full.state_dict().items()
    }
    assert {value.dtype for value in model.state_dict().values()} == {compute_dtype()}
    assert "quantization_config" not in model.config.to_dict()


def test_a_policy_has_the_values_of_nf4_in_ordinary_weights(tiny_base: Path) -> None:
    policy, packed = (load(tiny_base, QLORA, seed=1) for load in (load_policy, load_trainable))
    assert parameter_counts(policy) == parameter_counts(packed)
    named = dict(policy.named_parameters())
    assert {param.dtype for param in named.values()} == {compute_dtype(), torch.float32}
    assert not any("Params4bit" in type(param).__name__ for param in named.values())
    for name, param in merge_adapters(packed).named_parameters():
        layer, _, kind = name.rpartition(".")
        own = f"{layer}.base_layer.{kind}" if layer.endswith(("q_proj", "down_proj")) else name
        torch.testing.assert_close(named[f"base_model.model.{own}"].detach(), param.detach())
    full = load_trainable(tiny_base, FullTuning(method="full", optimizer="adamw"), seed=1)
    rounded = unwrap(policy).get_parameter("model.layers.0.self_attn.o_proj.weight")
    original = full.get_parameter("model.layers.0.self_attn.o_proj.weight")
    assert 0 < (rounded - original).abs().mean() < 0.2 * original.abs().mean()
    plain = load_policy(tiny_base, FullTuning(method="full", optimizer="adamw"), seed=1)
    assert torch.equal(plain.get_parameter("lm_head.weight"), full.get_parameter("lm_head.weight"))


@pytest.mark.parametrize(("local_rank", "gpu"), [(None, 0), ("0", 0), ("3", 3)])
def test_each_process_loads_4_bit_weights_on_its_own_gpu(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    local_rank: str | None,
    gpu: int,
) -> None:
    calls: list[dict[str, Any]] = []

    def load(*_: Any, **options: Any) -> PreTrainedModel:
        calls.append(options)
        return tiny_model(tokenizer)

    monkeypatch.setattr(training_adapters, "load_model", load)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    load_trainable(Path("base"), QLORA, seed=1)
    assert calls[0]["device_map"] == {"": gpu}


def test_a_target_that_the_model_lacks_is_named(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"^tuning\.targets: \['q_prj'\]: .*'q_proj'") as error:
        load_trainable(tiny_base, adapters(targets=["v_proj", "q_prj"]), seed=1)
    assert "\n" not in str(error.value)
    assert "lm_head" not in str(error.value)
