"""The weighted loss is exact, on a real if tiny model."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
)
from trl.trainer.utils import add_fused_lm_head

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.loss import ExampleScore, weighted_loss
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import as_tensors, micro_batch
from tests.conftest import one_turn, tiny_model

Gradients = list[torch.Tensor]
Row = dict[str, Any]

FIRST = one_turn([10, 11, 12], [13, 14, 15, 16], 1.0)
SECOND = one_turn([20, 21], [22, 23, 24], 1.0)
THIRD = one_turn([30, 31, 32, 33], [34, 35], 2.0)
ALL, TOTAL = [FIRST, SECOND, THIRD], 9
SPLITS = [[[FIRST], [SECOND, THIRD]], [[THIRD, FIRST], [SECOND]], [[FIRST], [SECOND], [THIRD]]]


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    return tiny_model(tokenizer).double()


def packed(examples: Sequence[TokenizedExample]) -> Row:
    return as_tensors(micro_batch(examples, 1.0))


def gradients(model: Qwen2ForCausalLM, rows: Sequence[Row], total: int = TOTAL) -> Gradients:
    """Return the gradients that micro-batches accumulate."""
    model.zero_grad()
    for row in rows:
        weighted_loss(model, row, total).backward()
    return [param.grad.clone() for param in model.parameters() if param.grad is not None]


def assert_same(first: Gradients, second: Gradients) -> None:
    for gradient, expected in zip(first, second, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


def test_the_fused_output_layer_has_the_same_loss_gradient_and_scores(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = tiny_model(tokenizer)
    prompt = [10, 11, 12]
    likeliest = int(model(input_ids=torch.tensor([prompt])).logits[0, -1].argmax())
    examples = [FIRST, one_turn(prompt, [likeliest], 1.5), THIRD]
    row = packed(examples)
    positions = [number for number, example in enumerate(examples) for _ in example.ids]
    row["example_positions"] = torch.tensor([positions])
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    scores: list[list[ExampleScore]] = []
    losses, gradients = [], []
    for fused in (False, True):
        model.zero_grad()
        losses.append(weighted_loss(model, row, TOTAL, scores.append, fused=fused))
        losses[-1].backward()
        gradients.append([param.grad for param in model.parameters()])
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)
    plain_scores, fused_scores = scores
    assert [is_exact for _, _, is_exact in plain_scores] == [False, True, False]
    assert [score[::2] for score in fused_scores] == [score[::2] for score in plain_scores]
    assert [loss for _, loss, _ in fused_scores] == pytest.approx(
        [loss for _, loss, _ in plain_scores], rel=1e-6
    )


def test_the_loss_is_the_mean_negative_log_likelihood(model: Qwen2ForCausalLM) -> None:
    ids = FIRST.ids
    log_probs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -sum(log_probs[i - 1, ids[i]] for i in range(3, 7)) / 4
    torch.testing.assert_close(
        weighted_loss(model, packed([FIRST]), 4), expected, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_weight_k_has_the_gradient_of_k_repetitions(model: Qwen2ForCausalLM, k: int) -> None:
    once = gradients(model, [packed([replace(FIRST, weight=float(k)), SECOND])], 10)
    repeated = gradients(model, [packed([FIRST] * k + [SECOND])], 10)
    assert_same(once, repeated)


@pytest.mark.parametrize("split", SPLITS)
def test_any_split_into_micro_batches_has_the_same_gradient(
    model: Qwen2ForCausalLM, split: list[list[TokenizedExample]]
) -> None:
    whole = gradients(model, [packed(ALL)])
    assert_same(whole, gradients(model, [packed(part) for part in split]))


SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
ARCHITECTURES = {
    "llama": LlamaConfig(**SMALL, tie_word_embeddings=False),
    "llama-tied": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SMALL, tie_word_embeddings=True),  # with biases
    "qwen3": Qwen3Config(**SMALL, tie_word_embeddings=False),  # with norms of queries and keys
    "gemma": GemmaConfig(**SMALL),
    "gemma2": Gemma2Config(**SMALL, query_pre_attn_scalar=8, sliding_window=4),  # caps, windows
}


@pytest.mark.parametrize("examples", [ALL, [THIRD]], ids=["packed", "single"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loss_and_gradient_are_those_of_stock_transformers_on_each_example(
    architecture: str, examples: list[TokenizedExample]
) -> None:
    torch.manual_seed(0)
    config = copy.deepcopy(ARCHITECTURES[architecture])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    # Norms and biases are 1 and 0 at first, and would hide a mistake.
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param), alpha=0.1)
    stock = copy.deepcopy(model)
    total = sum(example.supervised for example in examples)
    for example in examples:
        labels = [
            token if is_learned else -100
            for token, is_learned in zip(example.ids, example.loss_mask, strict=True)
        ]
        mean = stock(input_ids=torch.tensor([example.ids]), labels=torch.tensor([labels])).loss
        (mean * example.supervised * example.weight / total).backward()
    attend_per_example(model)
    weighted_loss(model, packed(examples), total).backward()
    for (name, param), expected in zip(model.named_parameters(), stock.parameters(), strict=True):
        # transformers computes its loss in 32 bits.
        gradients = torch.stack([param.grad, expected.grad])
        scale = gradients.abs().max()
        assert (gradients[0] - gradients[1]).abs().max() < 1e-6 * scale, name
