"""Losses of tokens, and likelihoods of held-out solutions, which do not depend on packing."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.training import likelihood
from tests.conftest import one_turn, tiny_model

SOLUTIONS = [one_turn([i, i + 1], [i + 2, i + 3, i + 4][: 1 + i % 3], 1.0) for i in range(20)]


@pytest.mark.parametrize("row_tokens", [1, 12, 1000])
def test_the_sum_is_that_of_the_log_probabilities(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, row_tokens: int
) -> None:
    monkeypatch.setattr(likelihood, "_ROW_TOKENS", row_tokens)
    model = tiny_model(tokenizer).double().eval()
    expected = []
    for solution in SOLUTIONS:
        ids = solution.ids
        with torch.no_grad():
            log_probs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        expected.append(-sum(float(log_probs[i - 1, ids[i]]) for i in range(2, len(ids))))
    seen: list[int] = []
    likelihoods = likelihood.negative_log_likelihoods(model, SOLUTIONS, seen.append)
    assert likelihoods == pytest.approx(expected, rel=1e-6)
    assert sum(seen) == len(SOLUTIONS)
    rest = [len(solution) for solution in SOLUTIONS]
    for count in seen:
        row, rest = rest[:count], rest[count:]
        assert count == 1 or sum(row) <= row_tokens


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_losses_and_their_gradient_are_those_of_pytorch(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 2 * likelihood._TOKENS + 3  # noqa: SLF001
    logits = (8 * torch.randn(n, 50, generator=generator)).to(dtype)
    targets = torch.randint(50, (n,), generator=generator)
    factors = torch.rand(n, generator=generator)
    results = []
    for is_ours in (True, False):
        leaf = logits.clone().requires_grad_()
        if is_ours:
            losses = likelihood.token_losses(leaf, targets)
        else:
            wide = leaf.to(torch.promote_types(dtype, torch.float32))
            losses = torch.nn.functional.cross_entropy(wide, targets, reduction="none")
        (losses * factors).sum().backward()
        results.append((losses, leaf.grad))
    torch.testing.assert_close(results[0], results[1])
