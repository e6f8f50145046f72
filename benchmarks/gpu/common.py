"""What the benchmarks on a GPU share: results, random models of real shapes, random examples."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)

from stages.lib.core.paths import CONF
from stages.lib.core.schema import ExampleInfo
from stages.lib.params.compose import compose
from stages.lib.params.training import Train
from stages.lib.provenance.catalog import Shape
from stages.lib.sft.tokens import TokenizedExamples

# Dense bf16 FLOP/s that NVIDIA states, by the name that CUDA gives.
PEAK_FLOPS = {"H100 80GB HBM3": 989e12, "H100 PCIe": 756e12, "H200": 989e12, "A100": 312e12}


@dataclass(frozen=True)
class Result:
    """Whether a benchmark met its criterion, and its figures."""

    name: str
    criterion: str
    passed: bool
    figures: dict[str, Any]

    def print_line(self) -> None:
        """Print the result as a line of JSON."""
        print(json.dumps(asdict(self)), flush=True)


def device() -> torch.device:
    """Return the first GPU, or the CPU where the logic alone is tried."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def peak_flops(name: str) -> float | None:
    """Return the bf16 FLOP/s stated for a GPU, or None if it is not listed."""
    return next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def random_model(shape: Shape, *, seed: int = 0) -> PreTrainedModel:
    """Return a Qwen2 of random bf16 weights on the device; only its shape is that of a model."""
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32_768,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=1,
        tie_word_embeddings=shape.tied,
    )
    torch.manual_seed(seed)
    default = torch.get_default_dtype()
    # In bf16 and on the GPU from the start: 7B weights in 32 bits would not fit beside them.
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device():
            return Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(default)


def any_tokenizer() -> PreTrainedTokenizerBase:
    """Return a tokenizer of two words: trainers ask for one, the examples are tokens already."""
    words = Tokenizer(models.WordLevel({"a": 0, "end": 1}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="end", pad_token="end")


def random_examples(
    shape: Shape, tokens: int, *, longest: int, seed: int = 0, supervised: float = 0.6
) -> TokenizedExamples:
    """Return random examples of about ``tokens`` tokens, of up to ``longest`` each.

    The first tokens of each are a prompt; ``supervised`` is the share of the others.
    """
    rng = np.random.default_rng(seed)
    lengths: list[int] = []
    while sum(lengths) < tokens:
        lengths.append(int(rng.integers(longest // 4, longest + 1)))
    n_supervised = [max(1, int(length * supervised)) for length in lengths]
    pairs = list(zip(lengths, n_supervised, strict=True))
    table = Dataset.from_dict(
        {
            "ids": [rng.integers(2, shape.vocabulary, length).tolist() for length in lengths],
            "loss_mask": [[False] * (n - learned) + [True] * learned for n, learned in pairs],
        }
    )
    info = ("made", "cot", 1, 1.0, 0.0, "none", 1.0, "token", False, 0.0)
    examples = [ExampleInfo(str(number), *info) for number in range(len(lengths))]
    rows = list(range(len(lengths)))
    return TokenizedExamples(examples, lengths, n_supervised, 0, table, rows, longest)


def train_settings(**changes: Any) -> Train:
    """Return the default training settings, with changes."""
    return Train.model_validate(compose([], CONF)["train"] | changes)


@dataclass(eq=False)
class Clock(TrainerCallback):
    """Notes when each step ended."""

    ends: list[float] = field(default_factory=list)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the GPU and note the time."""
        synchronize()
        self.ends.append(time.perf_counter())

    def seconds_per_step(self, skip: int) -> float:
        """Return the mean seconds of a step, without the first ``skip``."""
        return (self.ends[-1] - self.ends[skip - 1]) / (len(self.ends) - skip)
