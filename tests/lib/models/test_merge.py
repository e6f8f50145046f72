"""Adapters from elsewhere: what merging computes, and adapters that do not fit."""

from pathlib import Path
from typing import cast

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_model, load_tokenizer
from stages.lib.models.merge import merge_adapter
from tests.conftest import tiny_model

IDS = torch.arange(40).unsqueeze(0)


@pytest.fixture
def adapted(tokenizer: PreTrainedTokenizerFast) -> PeftModel:
    """Return the tiny model with a random adapter on two kinds of layers."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    model = cast(PeftModel, get_peft_model(tiny_model(tokenizer).bfloat16().float(), config))
    torch.manual_seed(1)
    for name, param in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(param, std=0.1)
    return model.eval()


@pytest.fixture
def adapter(adapted: PeftModel, tmp_path: Path) -> Path:
    adapted.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def test_a_merged_model_computes_what_the_adapter_did(
    tiny_base: Path, adapted: PeftModel, adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "merged"
    merge_adapter(tiny_base, adapter, out)
    merged, base = (load_model(folder, torch.float32).eval() for folder in (out, tiny_base))
    with torch.no_grad():
        expected, found, before = (m(input_ids=IDS).logits for m in (adapted, merged, base))
    change = (expected - before).abs().max()
    # Rounded to bf16 once.
    assert (found - expected).abs().max() < 0.02 * change
    assert load_tokenizer(out).get_vocab() == load_tokenizer(tiny_base).get_vocab()
    assert model_fingerprint(out) != model_fingerprint(tiny_base)


def test_an_adapter_of_another_shape_is_refused(
    tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({name: value[..., :2].contiguous() for name, value in weights.items()}, file)
    with pytest.raises(ValueError, match=r"adapter: does not fit .*tiny: .* size mismatch [^\n]*$"):
        merge_adapter(tiny_base, adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_without_a_place_are_refused(
    tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    extra = {name.replace("layers.0", "layers.7"): value.clone() for name, value in weights.items()}
    save_file(weights | extra, file)
    with pytest.raises(ValueError, match="4 weights have no counterpart, such as .*layers.7"):
        merge_adapter(tiny_base, adapter, tmp_path / "out")
