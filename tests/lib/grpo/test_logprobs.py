"""Log-probabilities of answers behind shared prompts, against one padded pass each."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.grpo.logprobs import log_probabilities, pack_shared_prompts
from stages.lib.training import attention
from tests.conftest import tiny_model

PAD = 0
# Of two prompts, the first has three completions and the second two; they come mixed.
PROMPTS = [[5, 6, 7, 8], [9, 10], [5, 6, 7, 8], [5, 6, 7, 8], [9, 10]]
COMPLETIONS = [[11, 12, 13], [14], [15, 16], [11, 17, 18], [14, 19, 20, 21]]
LONGEST = 4


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = [], []
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
        left, right = 4 - len(prompt), LONGEST - len(completion)
        ids.append([PAD] * left + prompt + completion + [PAD] * right)
        mask.append([0] * left + [1] * (len(prompt) + len(completion)) + [0] * right)
    return torch.tensor(ids), torch.tensor(mask)


def test_a_prompt_stands_once_before_its_answers_whose_last_tokens_are_left_out() -> None:
    packed = pack_shared_prompts(*padded(), LONGEST)
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 11, 12, 15, 11, 17, 9, 10, 14, 19, 20]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 4, 4, 5, 0, 1, 2, 3, 4]]
    assert packed.scored.tolist() == [3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
    # The end of each prompt predicts the first token of each of its completions.
    assert packed.logits.tolist() == [0, 1, 2, 0, 3, 0, 4, 5, 6, 6, 7, 8, 9]
    assert packed.tokens.tolist() == [11, 12, 13, 15, 16, 11, 17, 18, 14, 14, 19, 20, 21]
    assert packed.completions.tolist() == [0, 0, 0, 2, 2, 3, 3, 3, 1, 4, 4, 4, 4]
    assert packed.offsets.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("products_up_to", [0, 512])
def test_values_and_gradients_are_those_of_one_pass_per_answer(
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
    products_up_to: int,
) -> None:
    monkeypatch.setattr(attention, "_PRODUCTS_UP_TO", products_up_to)
    separate, shared = (tiny_model(tokenizer).double() for _ in range(2))
    expected = torch.zeros(len(PROMPTS), LONGEST, dtype=torch.double)
    expected_entropy = torch.zeros_like(expected)
    for index, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS, strict=True)):
        logits = separate(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        logprobs = (logits / temperature).log_softmax(-1)
        length = len(completion)
        expected[index, :length] = logprobs[range(length), completion]
        distribution = torch.distributions.Categorical(logits=logprobs)
        expected_entropy[index, :length] = distribution.entropy()
    logprobs, entropy = log_probabilities(shared, *padded(), LONGEST, temperature=temperature)
    torch.testing.assert_close(logprobs, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-5, atol=1e-6)

    weights = torch.arange(1.0, 21).view(5, 4).double()
    (expected * weights).sum().backward()
    (logprobs * weights).sum().backward()
    for param, other in zip(shared.parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(param.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_model_generates_as_before(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(tokenizer)
    before = model.config._attn_implementation  # noqa: SLF001
    log_probabilities(model, *padded(), LONGEST, temperature=1.0)
    assert model.config._attn_implementation == before  # noqa: SLF001
