"""How well a model predicts worked solutions that it has not seen."""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from stages.lib.attention import attend_per_example
from stages.lib.loss import weighted_loss
from stages.lib.memory import keep_freed_memory
from stages.lib.packing import Tokens, micro_batch

_ROW_TOKENS = 1024


@torch.no_grad()
def negative_log_likelihood(
    model: PreTrainedModel, solutions: Sequence[Tokens], done: Callable[[int], object]
) -> tuple[float, int]:
    """Return the summed negative log-likelihood (nats) of all responses, and their tokens.

    Perplexity is exp(sum / tokens). ``done`` is called with the solutions just read.
    """
    keep_freed_memory()
    attend_per_example(model)
    total, tokens = 0.0, 0
    for row in _rows(solutions):
        batch = {
            k: torch.tensor([v], device=model.device) for k, v in micro_batch(row, 1.0).items()
        }
        total += float(weighted_loss(model, batch, 1))
        tokens += sum(len(one.response) for one in row)
        done(len(row))
    return total, tokens


def _rows(solutions: Sequence[Tokens]) -> list[list[Tokens]]:
    rows: list[list[Tokens]] = [[]]
    for one in solutions:
        if rows[-1] and sum(map(len, rows[-1])) + len(one) > _ROW_TOKENS:
            rows.append([])
        rows[-1].append(one)
    return rows
