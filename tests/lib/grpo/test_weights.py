"""Weights for the engine: adapters are added, the policy stays as it is."""

import copy

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerFast

from stages.lib.grpo.weights import merged_parameters
from stages.lib.training.adapters import merge_adapters, with_adapters
from tests.conftest import tiny_model
from tests.lib.training.test_adapters import adapters


def test_the_engine_gets_merged_weights_and_the_policy_keeps_its_own(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = with_adapters(tiny_model(tokenizer).bfloat16(), adapters(dropout=0.0), seed=1)
    for name, param in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(param, std=0.01)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pushed = {name: value.clone() for name, value in merged_parameters(model)}
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    merged = dict(merge_adapters(copy.deepcopy(model)).named_parameters())
    assert {name: value.bfloat16().tolist() for name, value in pushed.items()} == {
        name: value.tolist() for name, value in merged.items()
    }
    plain = dict(tiny_model(tokenizer).bfloat16().named_parameters())
    changed = {name for name, value in pushed.items() if not torch.equal(value, plain[name])}
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "down_proj"}


def test_trls_own_merge_and_unmerge_changes_frozen_weights(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Where this fails, PEFT has mended it, and ``weights`` may go."""
    model = with_adapters(tiny_model(tokenizer).bfloat16(), adapters(dropout=0.0), seed=1)
    assert isinstance(model, PeftModel)
    frozen = {name: param for name, param in model.named_parameters() if "base_layer" in name}
    before = {name: param.clone() for name, param in frozen.items()}
    torch.manual_seed(0)
    for _ in range(5):
        for name, param in model.named_parameters():
            if "lora_B" in name:
                param.data += torch.randn_like(param) * 1e-3
        model.merge_adapter()
        model.unmerge_adapter()
    assert any(not torch.equal(param, before[name]) for name, param in frozen.items())
