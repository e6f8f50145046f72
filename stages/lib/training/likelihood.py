"""Negative log-likelihood of the supervised tokens of examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.malloc import keep_freed_memory
from stages.lib.training.attention import attend_per_example
from stages.lib.training.packing import IGNORED, as_tensors, attention_bounds, micro_batch

# The most tokens of a row, on a CPU and on a GPU, which only long rows keep busy.
_ROW_TOKENS, _GPU_ROW_TOKENS = 1024, 16384

# Of how many tokens the probabilities of the whole vocabulary are held at once. On a CPU they
# are so few that they stay in its caches.
_TOKENS, _GPU_TOKENS = 16, 2048


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
    most = _ROW_TOKENS if model.device.type == "cpu" else _GPU_ROW_TOKENS
    for row in _rows(examples, most):
        tensors = as_tensors(micro_batch(row, 1.0))
        batch = {
            name: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for name, value in tensors.items()
        }
        logits, targets, _ = supervised_logits(model, batch)
        losses = token_losses(logits, targets)
        by_example = losses.split([example.supervised for example in row])
        likelihoods += [float(example_losses.sum()) for example_losses in by_example]
        on_progress(len(row))
    return likelihoods


def _rows(examples: Sequence[TokenizedExample], most: int) -> list[list[TokenizedExample]]:
    rows: list[list[TokenizedExample]] = [[]]
    for example in examples:
        if rows[-1] and sum(map(len, rows[-1])) + len(example) > most:
            rows.append([])
        rows[-1].append(example)
    return rows


def supervised_logits(
    model: torch.nn.Module, row: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the logits of a row's supervised tokens, the tokens, and their positions minus one.

    ``row`` is that of ``as_tensors``. The shapes are (n, vocabulary), (n,) and (n,).
    Logits are computed at these positions only.
    """
    labels = row["labels"][0, 1:]
    positions = (labels != IGNORED).nonzero().squeeze(-1)
    logits = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        logits_to_keep=positions,
        use_cache=False,
        **attention_bounds(row),
    ).logits[0]
    return logits, labels[positions], positions


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the negative log-probability of each target in nats, (n,), of at least 32 bits.

    ``logits`` are (n, vocabulary), ``targets`` (n,).
    """
    return cast(torch.Tensor, _TokenLosses.apply(logits, targets))


class _TokenLosses(torch.autograd.Function):
    """Cross-entropy, a part of the tokens at a time.

    PyTorch's own makes four copies of the logits in 32 bits. With a large vocabulary they do not
    fit into the caches of a CPU, and moving them takes a tenth of a training step.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        ctx.size = _TOKENS if logits.device.type == "cpu" else _GPU_TOKENS
        parts = logits.split(ctx.size)
        normalizers = torch.cat([_widened(part).logsumexp(-1) for part in parts])
        ctx.save_for_backward(logits, targets, normalizers)
        return normalizers - logits.gather(-1, targets[:, None]).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets, normalizers = ctx.saved_tensors
        columns = (logits, targets[:, None], normalizers[:, None], gradients[0][:, None])
        result = torch.empty_like(logits)
        parts = zip(*(column.split(ctx.size) for column in (result, *columns)), strict=True)
        for out, part, target, normalizer, gradient in parts:
            # The derivative of a loss: the probabilities, less one at the target.
            derivative = (_widened(part) - normalizer).exp_()
            derivative.scatter_add_(-1, target, torch.full_like(normalizer, -1))
            out.copy_(derivative.mul_(gradient))
        return result, None


def _widened(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
