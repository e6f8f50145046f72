"""FlashAttention on packed rows: its arguments, and with a stand-in for its kernel, its values."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.loss import weighted_loss
from stages.lib.training import attention, varlen
from stages.lib.training.packing import as_tensors, attention_bounds, micro_batch
from tests.conftest import tiny_model
from tests.lib.training.test_attention import EXAMPLES

CUDA = torch.device("cuda")


def per_example(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """Compute what ``varlen_attn`` documents, one example after the other."""
    assert enable_gqa
    assert cu_seq_q is cu_seq_k
    assert cu_seq_q.dtype == torch.int32
    assert max_q == max_k == int(cu_seq_q.diff().max())
    left, right = window_size
    assert right == 0
    parts = []
    for start, end in pairwise(cu_seq_q.tolist()):
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        visible = (distance >= 0) & (distance <= (left if left >= 0 else end - start))
        heads = (states[start:end].transpose(0, 1) for states in (query, key, value))
        mixed = torch.nn.functional.scaled_dot_product_attention(
            *heads, attn_mask=visible, scale=scale, enable_gqa=True
        )
        parts.append(mixed.transpose(0, 1))
    return torch.cat(parts)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets this machine look as if it had a GPU of a capability."""

    def pretend(capability: tuple[int, int] = (9, 0), *, has_package: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: has_package)

    return pretend


@pytest.mark.parametrize(
    ("capability", "has_package", "config", "expected"),
    [
        ((9, 0), False, {}, varlen.NAME),
        ((8, 0), False, {}, varlen.NAME),
        ((9, 0), True, {}, "flash_attention_2"),
        ((7, 5), False, {}, None),
        ((7, 5), True, {}, None),
        ((9, 0), False, {"sliding_window": 8}, varlen.NAME),
        ((9, 0), False, {"attn_logit_softcapping": 50.0}, None),
        ((9, 0), True, {"attn_logit_softcapping": 50.0}, "flash_attention_2"),
        ((9, 0), False, {"attention_dropout": 0.1}, None),
    ],
)
def test_a_gpu_attends_inside_examples_by_the_best_kernel_that_it_has(
    tokenizer: PreTrainedTokenizerFast,
    on_gpu: Callable[..., None],
    capability: tuple[int, int],
    has_package: bool,
    config: dict[str, Any],
    expected: str | None,
) -> None:
    on_gpu(capability, has_package=has_package)
    model = tiny_model(tokenizer)
    for name, value in config.items():
        setattr(model.config, name, value)
    assert attention.choose_attention(model.config, CUDA) == expected


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_the_target_device_decides_and_every_layer_gets_the_bounds(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    on_gpu: Callable[..., None],
    recompute: bool,
) -> None:
    on_gpu()
    model = tiny_model(tokenizer).bfloat16()
    assert model.device.type == "cpu"
    attention.attend_per_example(model, CUDA)
    calls: list[tuple[Any, ...]] = []
    kernel = varlen.varlen_attn

    def record(*arguments: Any, **options: Any) -> Any:
        calls.append((*arguments, options))
        return kernel(*arguments, **options)

    monkeypatch.setattr(varlen, "varlen_attn", record)
    # The operator itself, of which a meta tensor has the shapes only.
    model.to("meta")  # pyright: ignore[reportArgumentType]
    model.train()
    if recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    row = as_tensors(micro_batch(EXAMPLES, 1.0))
    output = model(
        input_ids=row["input_ids"].to("meta"),
        position_ids=row["position_ids"].to("meta"),
        use_cache=False,
        **attention_bounds(row),
    )
    output.logits.sum().backward()
    n_layers = model.config.num_hidden_layers
    assert len(calls) == n_layers * (2 if recompute else 1)
    lengths = [len(example) for example in EXAMPLES]
    for query, key, _, bounds, same, most, again, options in calls:
        assert bounds.tolist() == [0, *torch.tensor(lengths).cumsum(0).tolist()]
        assert same is bounds
        assert most == again == max(lengths)
        assert (query.shape, key.shape) == ((sum(lengths), 2, 32), (sum(lengths), 1, 32))
        assert query.dtype == torch.bfloat16
        assert options["window_size"] == (-1, 0)
    assert all(param.grad is not None for param in model.parameters())


@pytest.mark.parametrize("examples", [EXAMPLES, EXAMPLES[:1], EXAMPLES[::-1]])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_loss_and_gradient_are_those_of_masked_attention(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    examples: Sequence[TokenizedExample],
    recompute: bool,
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", per_example)
    row = as_tensors(micro_batch(examples, 1.0))
    results = []
    for name in ("sdpa", varlen.NAME):
        model = tiny_model(tokenizer).double().train()
        model.set_attn_implementation(name)
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        loss = weighted_loss(model, row, 7)
        loss.backward()
        results.append((loss, [param.grad for param in model.parameters()]))
    (masked, masked_gradients), (ours, gradients) = results
    torch.testing.assert_close(ours, masked, rtol=1e-6, atol=0)
    for gradient, expected in zip(gradients, masked_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("window", [1, 3, 100])
def test_a_window_counts_the_token_itself(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", per_example)
    length = 6
    value = torch.eye(length).view(1, 1, length, length)
    zeros = torch.zeros(1, 1, length, length)
    mixed, _ = varlen.attend(
        torch.nn.Identity(),
        zeros,
        zeros,
        value,
        None,
        cu_seq_lens_q=torch.tensor([0, length], dtype=torch.int32),
        max_length_q=length,
        sliding_window=window,
    )
    # Equal scores: a token's row has 1 / n for each of the n tokens that it sees.
    seen = (mixed[0, :, 0] > 0).sum(-1).tolist()
    assert seen == [min(position + 1, window) for position in range(length)]
