"""Focal weights: by hand, without a gradient of their own, and exact in any split."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from stages.lib.core.schema import Example, FocalLevel, Turn
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.focal import NO_UNIT, focal_columns, focal_factors
from stages.lib.sft.loss import weighted_loss
from tests.conftest import one_turn, prompt_of, tiny_model
from tests.lib.sft.test_loss import (
    ALL,
    SPLITS,
    TOTAL,
    Row,
    assert_same,
    gradients,
    packed,
)

LEVELS: list[FocalLevel] = ["token", "example"]


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    return tiny_model(tokenizer).double()


def example(gamma: float, level: FocalLevel, shuffled: bool = False) -> Example:
    return Example(
        problem_id="p",
        source="s",
        prompting="cot",
        turns=[Turn("q", "r")],
        repeats=1,
        weight=1.0,
        focal_gamma=gamma,
        focal_level=level,
        focal_shuffled=shuffled,
    )


def tensors(tokens: Sequence[TokenizedExample], like: Example, seed: int = 0) -> Row:
    """Return a row of examples, all of which are weighed like ``like``."""
    masks = [example_tokens.loss_mask for example_tokens in tokens]
    columns = focal_columns([like] * len(tokens), masks, np.random.default_rng(seed))
    return packed(tokens) | {name: torch.tensor([values]) for name, values in columns.items()}


def positions_of(row: Row) -> torch.Tensor:
    return (row["units"][0, 1:] != NO_UNIT).nonzero().squeeze(-1)


@torch.no_grad()
def losses_of(model: Qwen2ForCausalLM, tokens: TokenizedExample) -> torch.Tensor:
    """Return the negative log-probabilities of a response, read alone."""
    ids = torch.tensor([tokens.ids])
    log_probs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return -log_probs.gather(1, ids[0, 1:, None])[len(prompt_of(tokens)) - 1 :, 0]


def test_columns_number_the_units_of_a_row() -> None:
    rng = np.random.default_rng(0)
    masks = [[False, False, True, True, True], [False, True]]
    by_token = focal_columns([example(2.0, "token")] * 2, masks, rng)
    assert by_token["units"] == by_token["judges"] == [-1, -1, 0, 1, 2, -1, 3]
    assert by_token["gammas"] == [0, 0, 2, 2, 2, 0, 2]
    by_example = focal_columns([example(2.0, "example")] * 2, masks, rng)
    assert by_example["units"] == by_example["judges"] == [-1, -1, 0, 0, 0, -1, 1]


def test_factors_by_hand() -> None:
    losses = -torch.log(torch.tensor([0.5, 0.125, 0.2, 1.0], dtype=torch.float64))

    def factors(level: FocalLevel, gamma: float) -> list[float]:
        row = tensors(
            [one_turn([1], [2, 3], 1.0), one_turn([4], [5], 1.0), one_turn([6], [7], 1.0)],
            example(gamma, level),
        )
        return focal_factors(losses, row, positions_of(row)).tolist()

    assert factors("token", 1.0) == pytest.approx([0.5, 0.875, 0.8, 0])
    assert factors("token", 2.0) == pytest.approx([0.25, 0.765625, 0.64, 0])
    assert factors("example", 1.0) == pytest.approx([0.75, 0.75, 0.8, 0])
    assert factors("example", 0.0) == [1, 1, 1, 1]


@pytest.mark.parametrize("level", LEVELS)
def test_gamma_0_is_the_weighted_loss(model: Qwen2ForCausalLM, level: FocalLevel) -> None:
    plain = gradients(model, [packed(ALL)])
    assert_same(gradients(model, [tensors(ALL, example(0.0, level))]), plain)


@pytest.mark.parametrize("level", LEVELS)
def test_the_factors_are_constants_to_the_gradient(
    model: Qwen2ForCausalLM, level: FocalLevel
) -> None:
    """Written into the row as weights, the factors give the same loss and gradient."""
    gamma = 1.5
    fixed = packed(ALL)
    fixed["weights"] = fixed["weights"].double()
    start = 0
    for tokens in ALL:
        losses = losses_of(model, tokens)
        p = torch.exp(-losses) if level == "token" else torch.exp(-losses.mean())
        response = slice(start + len(prompt_of(tokens)), start + len(tokens))
        fixed["weights"][0, response] *= (1 - p) ** gamma
        start += len(tokens)
    focal = tensors(ALL, example(gamma, level))
    torch.testing.assert_close(
        weighted_loss(model, focal, TOTAL), weighted_loss(model, fixed, TOTAL)
    )
    assert_same(gradients(model, [focal]), gradients(model, [fixed]))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
def test_any_split_into_micro_batches_has_the_same_gradient(
    model: Qwen2ForCausalLM, level: FocalLevel, split: list[list[TokenizedExample]]
) -> None:
    like = example(2.0, level)
    whole = gradients(model, [tensors(ALL, like)])
    assert_same(whole, gradients(model, [tensors(part, like) for part in split]))


def test_the_control_gives_the_tokens_factors_to_random_tokens() -> None:
    losses = torch.linspace(0.1, 3.0, TOTAL)
    own, shuffled, reshuffled = (
        focal_factors(losses, row, positions_of(row)).tolist()
        for row in (
            tensors(ALL, example(2.0, "token")),
            tensors(ALL, example(2.0, "token", shuffled=True)),
            tensors(ALL, example(2.0, "token", shuffled=True), seed=1),
        )
    )
    assert sorted(own) == sorted(shuffled) == sorted(reshuffled)
    assert own != shuffled != reshuffled


def test_the_control_gives_the_examples_factors_to_random_examples() -> None:
    row = tensors(ALL, example(2.0, "example", shuffled=True), seed=3)
    units, judges = (row[name][0].tolist() for name in ("units", "judges"))
    judge_of = dict(zip(units, judges, strict=True))
    assert sorted(judge_of.values()) == [NO_UNIT, 0, 1, 2]
    assert any(unit != judge for unit, judge in judge_of.items())


def test_certainty_in_a_token_is_no_error() -> None:
    """Rounding may put a loss a little below 0; a fractional power of that is not a number."""
    row = tensors([one_turn([1], [2, 3], 1.0)], example(0.5, "token"))
    factors = focal_factors(torch.tensor([-1e-8, 0.0]), row, positions_of(row))
    assert factors.tolist() == [0, 0]
