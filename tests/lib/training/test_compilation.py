"""Compiled layers."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from transformers import PreTrainedTokenizerFast

from stages.lib.sft.loss import weighted_loss
from stages.lib.training import attention, compilation
from tests.conftest import tiny_model
from tests.lib.sft.test_loss import FIRST, THIRD, packed


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_layers_are_compiled_once_and_compute_the_same(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, recompute: bool
) -> None:
    torch._dynamo.reset()  # noqa: SLF001
    counter = CompileCounter()
    monkeypatch.setattr(compilation, "_BACKEND", counter)
    results = []
    for compiles in (False, True):
        model = tiny_model(tokenizer).train()
        attention.attend_per_example(model)
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        names = [name for name, _ in model.named_parameters()]
        if compiles:
            compilation.compile_layers(model)
            assert names == [name for name, _ in model.named_parameters()]
        loss = weighted_loss(model, packed([FIRST, THIRD]), 6)
        loss.backward()
        results.append((loss, [param.grad for param in model.parameters()]))
    assert counter.frame_count > 0
    torch.testing.assert_close(results[1], results[0])
