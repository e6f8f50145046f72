"""Attention inside examples, against transformers' own under a mask."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerFast

from stages.lib.params.training import FullTuning, Tuning
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.loss import weighted_loss
from stages.lib.training import adapters, attention
from stages.lib.training.adapters import load_trainable
from tests.conftest import one_turn, tiny_model
from tests.lib.sft.test_loss import FIRST, THIRD, packed
from tests.lib.training.test_adapters import LORA, QLORA

EXAMPLES = [FIRST, one_turn([20], [22], 1.0), THIRD]


@pytest.mark.parametrize("examples", [EXAMPLES, EXAMPLES[:1], EXAMPLES[::-1]])
@pytest.mark.parametrize("products_up_to", [0, 512])
def test_loss_and_gradient_are_those_of_masked_attention(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    examples: list[TokenizedExample],
    products_up_to: int,
) -> None:
    monkeypatch.setattr(attention, "_PRODUCTS_UP_TO", products_up_to)
    row = packed(examples)
    results = []
    for is_per_example in (False, True):
        model = tiny_model(tokenizer).double()
        if is_per_example:
            attention.attend_per_example(model)
            assert model.config._attn_implementation == attention.NAME  # noqa: SLF001
        loss = weighted_loss(model, row, 7)
        loss.backward()
        results.append((loss, [param.grad for param in model.parameters()]))
    (masked, masked_gradients), (per_example, gradients) = results
    torch.testing.assert_close(per_example, masked, rtol=1e-6, atol=0)
    for gradient, expected in zip(gradients, masked_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("products_up_to", [0, 512])
def test_each_key_is_shared_by_heads_next_to_each_other(
    monkeypatch: pytest.MonkeyPatch, products_up_to: int
) -> None:
    monkeypatch.setattr(attention, "_PRODUCTS_UP_TO", products_up_to)
    lengths = [5, 1, 3]
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(lengths), 8, generator=generator) for heads in (6, 2, 2)
    )
    positions = torch.cat([torch.arange(length) for length in lengths])
    mixed, _ = attention.attend(
        torch.nn.Identity(), query, key, value, None, position_ids=positions[None]
    )
    expected = [
        torch.nn.functional.scaled_dot_product_attention(
            *(part.repeat_interleave(6 // part.shape[1], 1) for part in parts), is_causal=True
        )
        for parts in zip(*(states.split(lengths, 2) for states in (query, key, value)), strict=True)
    ]
    torch.testing.assert_close(mixed, torch.cat(expected, 2).transpose(1, 2))


def test_a_model_with_windows_keeps_its_own_attention(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(tokenizer)
    before = model.config._attn_implementation  # noqa: SLF001
    model.config.sliding_window = 8
    attention.attend_per_example(model)
    assert model.config._attn_implementation == before  # noqa: SLF001


@pytest.mark.parametrize("tuning", [FullTuning(method="full", optimizer="adamw"), LORA, QLORA])
@pytest.mark.parametrize(
    ("available", "chosen"), [(True, "flash_attention_2"), (False, None)], ids=["flash", "none"]
)
def test_flash_attention_is_chosen_where_it_can_be_had(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    available: bool,
    chosen: str | None,
    tuning: Tuning,
) -> None:
    calls: list[dict[str, Any]] = []

    def load(*_: Any, **options: Any) -> PreTrainedModel:
        calls.append(options)
        return tiny_model(tokenizer)

    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: available)
    monkeypatch.setattr(adapters, "load_model", load)
    load_trainable(Path("base"), tuning, seed=1)
    assert calls[0].get("attn_implementation") == chosen


def test_a_saved_model_does_not_ask_for_it(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = tiny_model(tokenizer)
    model.save_pretrained(tmp_path / "before")
    attention.attend_per_example(model)
    model.save_pretrained(tmp_path / "after")
    before, after = (tmp_path / name / "config.json" for name in ("before", "after"))
    assert before.read_text() == after.read_text()
    assert AutoConfig.from_pretrained(tmp_path / "after")._attn_implementation != attention.NAME  # noqa: SLF001
