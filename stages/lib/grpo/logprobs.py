"""What a policy says of the answers that it gave: their log-probabilities, on a CPU.

TRL scores each answer with its own copy of the prompt, in a padded batch, and projects
prompts onto the vocabulary too. Here a prompt stands once before all of its answers, in
one row without padding (``stages.lib.training.attention``), and only what is needed is projected.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from transformers import PreTrainedModel

from stages.lib.training.attention import attend_per_example


@dataclass(frozen=True)
class PackedCompletions:
    """One row of prompts, each followed by its answers, and where to find what it says.

    ``input_ids`` and ``position_ids`` have the shape (1, length). ``asked`` are the places
    in the row whose next token is scored, each once; ``of`` says for each answer's token,
    answers in order, which of ``asked`` predicts it, ``tokens`` what it is, and
    ``answers`` and ``places`` where it stands in the padded batch.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    asked: torch.Tensor
    of: torch.Tensor
    tokens: torch.Tensor
    answers: torch.Tensor
    places: torch.Tensor


def pack_shared_prompts(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, answer_length: int
) -> PackedCompletions:
    """Return a padded batch as one row in which equal prompts stand once.

    ``input_ids`` and ``attention_mask`` have the shape (answers, length): prompts padded
    on the left, then ``answer_length`` places for an answer padded on the right.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    answers = []
    for number, (ids, mask) in enumerate(zip(input_ids, attention_mask.bool(), strict=True)):
        prompt = ids[:-answer_length][mask[:-answer_length]].tolist()
        answers.append(ids[-answer_length:][mask[-answer_length:]].tolist())
        groups.setdefault(tuple(prompt), []).append(number)
    row: list[int] = []
    positions: list[int] = []
    asked: list[int] = []
    scored: list[tuple[int, int, int, int]] = []
    for prompt, members in groups.items():
        row += prompt
        positions += range(len(prompt))
        last = len(asked)
        asked.append(len(row) - 1)
        for number in members:
            given = answers[number]
            of = [last, *range(len(asked), len(asked) + len(given) - 1)]
            scored += zip(of, given, [number] * len(given), range(len(given)), strict=False)
            # The last token predicts nothing.
            asked += range(len(row), len(row) + len(given) - 1)
            row += given[:-1]
            positions += range(len(prompt), len(prompt) + len(given) - 1)
    of, tokens, numbers, places = torch.tensor(scored, device=input_ids.device).unbind(1)
    return PackedCompletions(
        input_ids.new_tensor([row]),
        input_ids.new_tensor([positions]),
        input_ids.new_tensor(asked),
        of,
        tokens,
        numbers,
        places,
    )


def log_probabilities(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    answer_length: int,
    *,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each answer's log-probabilities and entropies, (answers, answer_length).

    Both are in nats, under logits divided by the temperature, and 0 at padding. For the
    shapes see ``pack_shared_prompts``. Entropies carry no gradient.
    """
    laid = pack_shared_prompts(input_ids, attention_mask, answer_length)
    with _scoring(model):
        logits = model(
            input_ids=laid.input_ids,
            position_ids=laid.position_ids,
            logits_to_keep=laid.asked,
            use_cache=False,
        ).logits[0]
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    said = (wide / temperature).log_softmax(-1)
    with torch.no_grad():
        spread = -(said.exp() * said).sum(-1)
    empty = said.new_zeros(len(input_ids), answer_length)
    where = (laid.answers, laid.places)
    return (
        empty.index_put(where, said[laid.of, laid.tokens]),
        empty.index_put(where, spread[laid.of]),
    )


@contextmanager
def _scoring(model: PreTrainedModel) -> Iterator[None]:
    """Let a model read rows in the body, and generate again after it."""
    before = cast(str, model.config._attn_implementation)
    attend_per_example(model)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
