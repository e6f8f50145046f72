"""Sampling with one random number a token, on CPUs.

vLLM adds noise to the logit of every token of the vocabulary and takes the largest (the Gumbel
trick), which takes a third of a step of a small model. Here the token is the one at which the
cumulated probabilities reach a random number (inverse transform sampling): the same distribution.
"""

from typing import Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

# The vocabulary is searched in two steps: for the block, and in it. Most vocabularies are a
# multiple of this.
_BLOCK = 128


class InverseTransform(LogitsProcessor):
    """Draws each next token itself, and leaves it as the largest logit.

    For requests of ``sampling_params``, which vLLM takes for greedy ones.
    """

    def __init__(self, *_: Any) -> None:
        """Start with no request; the arguments are those vLLM gives."""
        self._requests: dict[int, tuple[float, int, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """Return False: the largest logit becomes another."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests, by their row in the batch."""
        process_dict_updates(self._requests, batch_update, _drawn)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Draw a token for each row, (rows, vocabulary), and make its logit infinite."""
        if not self._requests:
            return logits
        rows = sorted(self._requests)
        temperatures, seeds, outputs = zip(*(self._requests[row] for row in rows), strict=True)
        random = uniform(np.array(seeds), np.array([len(output) for output in outputs]))
        whole = len(rows) == len(logits)
        tokens = draw(logits if whole else logits[rows], torch.tensor(temperatures), random)
        logits[rows, tokens] = torch.inf
        return logits


def sampling_params(temperature: float, seed: int) -> dict[str, Any]:
    """Return the arguments of ``SamplingParams`` for a request that is sampled here."""
    return {"temperature": 0, "extra_args": {"temperature": temperature, "seed": seed}}


def _drawn(
    params: SamplingParams, _: list[int] | None, output: list[int]
) -> tuple[float, int, list[int]] | None:
    """Return a new request's temperature, seed and growing output, or None if it is greedy."""
    if params.extra_args is None:
        return None
    return params.extra_args["temperature"], params.extra_args["seed"], output


def uniform(seeds: np.ndarray, steps: np.ndarray) -> torch.Tensor:
    """Return a random number in (0, 1] for each seed and step, (n,), of 64 bits.

    It is the output number ``step`` of a SplitMix64 generator (Steele, Lea and Flood 2014), so
    it does not depend on what else is drawn.
    """
    state = seeds.astype(np.uint64) + (steps.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return torch.from_numpy(((state >> np.uint64(11)) + 1) * 2.0**-53)


def draw(logits: torch.Tensor, temperatures: torch.Tensor, random: torch.Tensor) -> torch.Tensor:
    """Return a token drawn for each row of ``logits`` (n, vocabulary), which are overwritten.

    ``temperatures`` and ``random``, numbers in (0, 1], have the shape (n,).
    """
    logits.sub_(logits.amax(-1, keepdim=True)).div_(temperatures[:, None]).exp_()
    padding = -logits.shape[-1] % _BLOCK
    blocks = torch.nn.functional.pad(logits, (0, padding)).unflatten(-1, (-1, _BLOCK))
    # Few numbers are left: 64 bits keep what is rounded far below any probability.
    sums = blocks.sum(-1).double().cumsum(-1)
    target = random[:, None] * sums[:, -1:]
    block = torch.searchsorted(sums, target)
    before = torch.nn.functional.pad(sums, (1, 0)).gather(1, block)
    inside = blocks[torch.arange(len(blocks)), block[:, 0]].double().cumsum(-1)
    rest = (target - before).minimum(inside[:, -1:])
    return (block * _BLOCK + torch.searchsorted(inside, rest))[:, 0]
