"""Log-probabilities of a policy's completions, on a CPU.

TRL scores each completion with its own copy of the prompt, in a padded batch, and projects
prompts onto the vocabulary too. Here a prompt stands once before all of its completions, in
one row without padding (``stages.lib.training.attention``), and only what is needed is projected.
"""

from dataclasses import dataclass
from typing import cast

import torch
from transformers import PreTrainedModel

from stages.lib.training.attention import attend_per_example


@dataclass(frozen=True)
class PackedCompletions:
    """One row of prompts, each followed by its completions, and where their tokens are scored.

    ``input_ids`` and ``position_ids`` have the shape (1, length). ``scored`` are the positions
    in the row whose next token is scored, each once. The other fields have an entry for each
    completion token: ``logits`` is the index in ``scored`` of the logits that predict it,
    ``tokens`` its id, ``completions`` and ``offsets`` its row and column in the padded batch.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    scored: torch.Tensor
    logits: torch.Tensor
    tokens: torch.Tensor
    completions: torch.Tensor
    offsets: torch.Tensor


def pack_shared_prompts(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, max_length: int
) -> PackedCompletions:
    """Pack a padded batch into one row in which equal prompts stand once.

    ``input_ids`` and ``attention_mask`` have the shape (completions, length): prompts padded
    on the left, then ``max_length`` columns for a completion padded on the right.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    completions = []
    for index, (ids, mask) in enumerate(zip(input_ids, attention_mask.bool(), strict=True)):
        prompt = ids[:-max_length][mask[:-max_length]].tolist()
        completions.append(ids[-max_length:][mask[-max_length:]].tolist())
        groups.setdefault(tuple(prompt), []).append(index)
    row: list[int] = []
    positions: list[int] = []
    scored: list[int] = []
    targets: list[tuple[int, int, int, int]] = []
    for prompt, members in groups.items():
        row += prompt
        positions += range(len(prompt))
        # The last token of the prompt predicts the first of every completion.
        first = len(scored)
        scored.append(len(row) - 1)
        for index in members:
            tokens = completions[index]
            logits = [first, *range(len(scored), len(scored) + len(tokens) - 1)]
            targets += zip(logits, tokens, [index] * len(tokens), range(len(tokens)), strict=False)
            # The last token of a completion predicts nothing, so the row leaves it out.
            scored += range(len(row), len(row) + len(tokens) - 1)
            row += tokens[:-1]
            positions += range(len(prompt), len(prompt) + len(tokens) - 1)
    # Completions that are left out of the loss have no tokens here; all of them may be.
    columns = input_ids.new_tensor(targets).reshape(-1, 4).unbind(1)
    return PackedCompletions(
        input_ids.new_tensor([row]),
        input_ids.new_tensor([positions]),
        input_ids.new_tensor(scored),
        *columns,
    )


def log_probabilities(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    max_length: int,
    *,
    temperature: float,
    forward: torch.nn.Module | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each completion's log-probabilities and entropies, (completions, max_length).

    Both are in nats, under logits divided by the temperature, and 0 at padding. For the
    shapes see ``pack_shared_prompts``. Entropies carry no gradient. ``forward`` is called in
    place of the model where a wrapper averages gradients over processes.
    """
    packed = pack_shared_prompts(input_ids, attention_mask, max_length)
    # The model attends inside packed rows here, and has to generate afterwards.
    attention = cast(str, model.config._attn_implementation)
    attend_per_example(model)
    try:
        logits = (forward or model)(
            input_ids=packed.input_ids,
            position_ids=packed.position_ids,
            logits_to_keep=packed.scored,
            use_cache=False,
        ).logits[0]
    finally:
        model.set_attn_implementation(attention)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logprobs = (logits / temperature).log_softmax(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
    # Back to the shape of the padded batch.
    zeros = logprobs.new_zeros(len(input_ids), max_length)
    cells = (packed.completions, packed.offsets)
    return (
        zeros.index_put(cells, logprobs[packed.logits, packed.tokens]),
        zeros.index_put(cells, entropy[packed.logits]),
    )
