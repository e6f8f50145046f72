"""Loss factors: by hand, without a gradient of their own, and exact in any split."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from stages.lib.core.schema import Example, Factor, FactorUnit
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.factors import (
    NO_UNIT,
    LossFactor,
    divergence,
    factor_columns,
    loss_factor,
    loss_factors,
)
from stages.lib.sft.loss import weighted_loss
from stages.lib.training.likelihood import supervised_logits
from tests.conftest import one_turn, prompt_of, tiny_model
from tests.lib.sft.test_loss import ALL, SPLITS, TOTAL, Row, assert_same, gradients, packed
from tests.rows import make_example

UNITS: list[FactorUnit] = ["token", "example"]
KINDS: list[Factor] = ["focal", "likelihood", "base_likelihood"]


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    return tiny_model(tokenizer).double()


@pytest.fixture
def base(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """Return another model than ``model``."""
    other = tiny_model(tokenizer).double()
    with torch.no_grad():
        for number, param in enumerate(other.parameters()):
            param.mul_(1 + 0.1 * (number % 3))
    return other


def example(
    power: float, unit: FactorUnit, kind: Factor = "focal", *, shuffled: bool = False
) -> Example:
    return make_example(
        "p", factor=kind, factor_power=power, factor_unit=unit, factor_shuffled=shuffled
    )


def factor_of(like: Example) -> LossFactor:
    factor = loss_factor([like.info()])
    assert factor is not None
    return factor


def tensors(tokens: Sequence[TokenizedExample], like: Example, seed: int = 0) -> Row:
    """Return a row of examples, all of which are weighed like ``like``."""
    masks = [example_tokens.loss_mask for example_tokens in tokens]
    columns = factor_columns([like.info()] * len(tokens), masks, np.random.default_rng(seed))
    return packed(tokens) | {name: torch.tensor([values]) for name, values in columns.items()}


def factors_of(losses: torch.Tensor, row: Row, like: Example) -> list[float]:
    positions = (row["units"][0, 1:] != NO_UNIT).nonzero().squeeze(-1)
    return loss_factors(losses, row, positions, factor_of(like)).tolist()


def gradients_with(
    model: Qwen2ForCausalLM, rows: Sequence[Row], factor: LossFactor, base: Qwen2ForCausalLM
) -> list[torch.Tensor]:
    """Return the gradients that micro-batches accumulate under a loss factor."""
    model.zero_grad()
    for row in rows:
        weighted_loss(model, row, TOTAL, factor=factor, base=base).backward()
    return [param.grad.clone() for param in model.parameters() if param.grad is not None]


@torch.no_grad()
def losses_of(model: Qwen2ForCausalLM, tokens: TokenizedExample) -> torch.Tensor:
    """Return the negative log-probabilities of a response, read alone."""
    ids = torch.tensor([tokens.ids])
    log_probs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return -log_probs.gather(1, ids[0, 1:, None])[len(prompt_of(tokens)) - 1 :, 0]


def test_columns_number_the_units_of_a_row() -> None:
    rng = np.random.default_rng(0)
    masks = [[False, False, True, True, True], [False, True]]
    by_token = factor_columns([example(2.0, "token").info()] * 2, masks, rng)
    assert by_token["units"] == by_token["factor_units"] == [-1, -1, 0, 1, 2, -1, 3]
    by_example = factor_columns([example(2.0, "example").info()] * 2, masks, rng)
    assert by_example["units"] == by_example["factor_units"] == [-1, -1, 0, 0, 0, -1, 1]


def test_an_anchor_without_a_factor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^examples: anchor 0.5: expected a loss factor"):
        loss_factor([replace(example(1.0, "token", "none"), anchor=0.5).info()])


def test_examples_without_a_factor_have_none() -> None:
    assert loss_factor([example(1.0, "token", "none").info()] * 2) is None
    assert not factor_of(example(1.0, "token")).needs_base
    assert factor_of(example(1.0, "token", "base_likelihood")).needs_base


def test_factors_by_hand() -> None:
    losses = -torch.log(torch.tensor([0.5, 0.125, 0.2, 1.0], dtype=torch.float64))
    tokens = [one_turn([1], [2, 3], 1.0), one_turn([4], [5], 1.0), one_turn([6], [7], 1.0)]

    def factors(kind: Factor, unit: FactorUnit, power: float) -> list[float]:
        like = example(power, unit, kind)
        return factors_of(losses, tensors(tokens, like), like)

    assert factors("focal", "token", 1.0) == pytest.approx([0.5, 0.875, 0.8, 0])
    assert factors("focal", "token", 2.0) == pytest.approx([0.25, 0.765625, 0.64, 0])
    assert factors("focal", "example", 1.0) == pytest.approx([0.75, 0.75, 0.8, 0])
    assert factors("focal", "example", 0.0) == [1, 1, 1, 1]
    assert factors("likelihood", "token", 1.0) == pytest.approx([0.5, 0.125, 0.2, 1])
    # The product over a response, and not the mean of its tokens.
    assert factors("likelihood", "example", 1.0) == pytest.approx([0.0625, 0.0625, 0.2, 1])
    assert factors("likelihood", "example", 0.5) == pytest.approx([0.25, 0.25, 0.2**0.5, 1])


@pytest.mark.parametrize("unit", UNITS)
def test_power_0_is_the_weighted_loss(
    model: Qwen2ForCausalLM, base: Qwen2ForCausalLM, unit: FactorUnit
) -> None:
    plain = gradients(model, [packed(ALL)])
    like = example(0.0, unit)
    assert_same(gradients_with(model, [tensors(ALL, like)], factor_of(like), base), plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", UNITS)
def test_the_factors_are_constants_to_the_gradient(
    model: Qwen2ForCausalLM, base: Qwen2ForCausalLM, unit: FactorUnit, kind: Factor
) -> None:
    """Written into the row as weights, the factors give the same loss and gradient."""
    power = 1.5
    fixed = packed(ALL)
    fixed["weights"] = fixed["weights"].double()
    start = 0
    for tokens in ALL:
        losses = losses_of(base if kind == "base_likelihood" else model, tokens)
        if unit == "example":
            losses = losses.mean() if kind == "focal" else losses.sum()
        p = torch.exp(-losses)
        response = slice(start + len(prompt_of(tokens)), start + len(tokens))
        fixed["weights"][0, response] *= (1 - p if kind == "focal" else p) ** power
        start += len(tokens)
    like = example(power, unit, kind)
    row, factor = tensors(ALL, like), factor_of(like)
    torch.testing.assert_close(
        weighted_loss(model, row, TOTAL, factor=factor, base=base),
        weighted_loss(model, fixed, TOTAL),
    )
    assert_same(gradients_with(model, [row], factor, base), gradients(model, [fixed]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_any_split_into_micro_batches_has_the_same_gradient(
    model: Qwen2ForCausalLM,
    base: Qwen2ForCausalLM,
    kind: Factor,
    split: list[list[TokenizedExample]],
) -> None:
    like = example(2.0, "example", kind)
    factor = replace(factor_of(like), anchor=0.3)
    whole = gradients_with(model, [tensors(ALL, like)], factor, base)
    parts = [tensors(part, like) for part in split]
    assert_same(whole, gradients_with(model, parts, factor, base))


def test_the_divergence_by_hand() -> None:
    base_p, p = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    # 1/2 log 2 + 1/4 log 1/2 + 0; logits may be shifted.
    expected = 0.25 * np.log(2)
    assert divergence(p.log() + 3, base_p.log() - 1).tolist() == pytest.approx([expected])
    assert divergence(p.log(), p.log()).tolist() == pytest.approx([0], abs=1e-7)


def test_the_anchor_pulls_to_the_base_alone(
    model: Qwen2ForCausalLM, base: Qwen2ForCausalLM
) -> None:
    like = example(1.0, "token", "likelihood")
    row, factor = tensors(ALL, like), factor_of(like)
    without = weighted_loss(model, row, TOTAL, factor=factor)
    anchored = weighted_loss(model, row, TOTAL, factor=replace(factor, anchor=0.5), base=base)
    logits, _, _ = supervised_logits(model, row)
    base_logits, _, _ = supervised_logits(base, row)
    pull = 0.5 * divergence(logits, base_logits).mean()
    torch.testing.assert_close(anchored, without + pull)
    assert pull > 0
    # At the base itself there is nothing to pull.
    torch.testing.assert_close(
        weighted_loss(model, row, TOTAL, factor=replace(factor, anchor=0.5), base=model), without
    )


def test_the_control_gives_the_tokens_factors_to_random_tokens() -> None:
    losses = torch.linspace(0.1, 3.0, TOTAL)
    own, shuffled, reshuffled = (
        factors_of(losses, tensors(ALL, like, seed=seed), like)
        for like, seed in (
            (example(2.0, "token"), 0),
            (example(2.0, "token", shuffled=True), 0),
            (example(2.0, "token", shuffled=True), 1),
        )
    )
    assert sorted(own) == sorted(shuffled) == sorted(reshuffled)
    assert own != shuffled != reshuffled


def test_the_control_gives_the_examples_factors_to_random_examples() -> None:
    row = tensors(ALL, example(2.0, "example", shuffled=True), seed=3)
    units, factor_units = (row[name][0].tolist() for name in ("units", "factor_units"))
    factor_unit_of = dict(zip(units, factor_units, strict=True))
    assert sorted(factor_unit_of.values()) == [NO_UNIT, 0, 1, 2]
    assert any(unit != factor_unit for unit, factor_unit in factor_unit_of.items())


def test_certainty_in_a_token_is_no_error() -> None:
    """Rounding may put a loss a little below 0; a fractional power of that is not a number."""
    like = example(0.5, "token")
    row = tensors([one_turn([1], [2, 3], 1.0)], like)
    assert factors_of(torch.tensor([-1e-8, 0.0]), row, like) == [0, 0]
