"""Negative log-likelihood of the supervised tokens of examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import IGNORED, micro_batch

_ROW_TOKENS = 1024

# Of how many tokens the probabilities of the whole vocabulary are held at once.
_TOKENS = 16


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
        logits, targets, _ = supervised_logits(model, batch)
        losses = token_losses(logits, targets)
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


def supervised_logits(
    model: torch.nn.Module, row: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the logits of a row's supervised tokens, the tokens, and their positions minus one.

    ``row`` holds tensors of shape (1, length). The shapes are (n, vocabulary), (n,) and (n,).
    Logits are computed at these positions only.
    """
    labels = row["labels"][0, 1:]
    positions = (labels != IGNORED).nonzero().squeeze(-1)
    logits = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        logits_to_keep=positions,
        use_cache=False,
    ).logits[0]
    return logits, labels[positions], positions


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the negative log-probability of each target in nats, (n,), of at least 32 bits.

    ``logits`` are (n, vocabulary), ``targets`` (n,).
    """
    return cast(torch.Tensor, _TokenLosses.apply(logits, targets))


class _TokenLosses(torch.autograd.Function):
    """Cross-entropy, a few tokens at a time.

    PyTorch's own makes four copies of the logits in 32 bits. With a large vocabulary they do not
    fit into the caches of a CPU, and moving them takes a tenth of a training step.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        normalizers = torch.cat([_widened(part).logsumexp(-1) for part in logits.split(_TOKENS)])
        ctx.save_for_backward(logits, targets, normalizers)
        return normalizers - logits.gather(-1, targets[:, None]).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets, normalizers = ctx.saved_tensors
        columns = (logits, targets[:, None], normalizers[:, None], gradients[0][:, None])
        result = torch.empty_like(logits)
        parts = zip(*(column.split(_TOKENS) for column in (result, *columns)), strict=True)
        for out, part, target, normalizer, gradient in parts:
            # The derivative of a loss: the probabilities, less one at the target.
            derivative = (_widened(part) - normalizer).exp_()
            derivative.scatter_add_(-1, target, torch.full_like(normalizer, -1))
            out.copy_(derivative.mul_(gradient))
        return result, None


def _widened(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
