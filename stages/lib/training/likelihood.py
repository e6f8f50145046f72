"""Negative log-likelihood of the supervised tokens of an example."""

from collections.abc import Callable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import IGNORED, micro_batch

_ROW_TOKENS = 1024


@torch.no_grad()
def negative_log_likelihoods(
    model: PreTrainedModel, solutions: Sequence[TokenizedExample], done: Callable[[int], object]
) -> list[float]:
    """Return the negative log-likelihood of each response, in nats.

    Perplexity is exp(their sum / number of their tokens). ``done`` is called with how many
    solutions were just read.
    """
    keep_freed_memory()
    attend_per_example(model)
    found: list[float] = []
    for row in _rows(solutions):
        batch = {
            k: torch.tensor([v], device=model.device) for k, v in micro_batch(row, 1.0).items()
        }
        losses, _ = token_losses(model, batch)
        of_each = losses.split([one.supervised for one in row])
        found += [float(one.sum()) for one in of_each]
        done(len(row))
    return found


def _rows(solutions: Sequence[TokenizedExample]) -> list[list[TokenizedExample]]:
    rows: list[list[TokenizedExample]] = [[]]
    for one in solutions:
        if rows[-1] and sum(map(len, rows[-1])) + len(one) > _ROW_TOKENS:
            rows.append([])
        rows[-1].append(one)
    return rows


def token_losses(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return −ℓ of a row's supervised tokens, in nats (n,), and their places less one (n,).

    ``row`` holds tensors of shape (1, length). Logits are made at these places only.
    """
    labels = row["labels"][0, 1:]
    positions = (labels != IGNORED).nonzero().squeeze(-1)
    logits = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        logits_to_keep=positions,
        use_cache=False,
    ).logits[0]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(logits, labels[positions], reduction="none"), positions
