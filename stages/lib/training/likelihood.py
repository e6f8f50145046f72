"""Negative log-likelihood of the supervised tokens of examples."""

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
    model: PreTrainedModel,
    examples: Sequence[TokenizedExample],
    on_progress: Callable[[int], object],
) -> list[float]:
    """Return the negative log-likelihood of each example's supervised tokens, in nats.

    Perplexity is exp(their sum / number of supervised tokens). ``on_progress`` is called with
    the number of examples that were just scored.
    """
    keep_freed_memory()
    attend_per_example(model)
    likelihoods: list[float] = []
    for row in _rows(examples):
        batch = {
            name: torch.tensor([values], device=model.device)
            for name, values in micro_batch(row, 1.0).items()
        }
        losses, _ = token_losses(model, batch)
        by_example = losses.split([example.supervised for example in row])
        likelihoods += [float(example_losses.sum()) for example_losses in by_example]
        on_progress(len(row))
    return likelihoods


def _rows(examples: Sequence[TokenizedExample]) -> list[list[TokenizedExample]]:
    rows: list[list[TokenizedExample]] = [[]]
    for example in examples:
        if rows[-1] and sum(map(len, rows[-1])) + len(example) > _ROW_TOKENS:
            rows.append([])
        rows[-1].append(example)
    return rows


def token_losses(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses −ℓ of a row's supervised tokens and their positions minus one, both (n,).

    Losses are in nats; see ``supervised_logits``.
    """
    logits, targets, positions = supervised_logits(model, row)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none"), positions


def supervised_logits(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the logits of a row's supervised tokens, the tokens, and their positions minus one.

    ``row`` holds tensors of shape (1, length). The shapes are (n, vocabulary), (n,) and (n,).
    Logits are computed at these positions only, and are at least of 32 bits.
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
    return logits, labels[positions], positions
