"""Likelihoods of held-out solutions do not depend on how they are packed."""

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
