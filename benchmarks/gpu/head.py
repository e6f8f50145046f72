"""The output layer of a row: TRL's fused one against plain logits, memory and time.

The row is that of a 7B model with 8,192 tokens, of which 6,554 are supervised.

    python -m benchmarks.gpu.head
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl.trainer.utils import add_fused_lm_head

from benchmarks.gpu.common import Result, device, median_seconds
from stages.lib.training.likelihood import token_losses

SUPERVISED, HIDDEN, VOCABULARY = 6_554, 3_584, 152_064
REPEATS = 5
MOST_GIB, MOST_TIMES = 1.5, 1.15


def measure(
    supervised: int = SUPERVISED, hidden: int = HIDDEN, vocabulary: int = VOCABULARY
) -> Result:
    """Time both, and measure the memory that the fused one needs beside its inputs."""
    model = head_alone(hidden, vocabulary)
    states = torch.randn(1, supervised + 1, hidden, device=device(), dtype=torch.bfloat16)
    labels = torch.randint(vocabulary, (1, supervised + 1), device=device())

    def fused() -> torch.Tensor:
        output = model(inputs_embeds=states.requires_grad_(), labels=labels, fused_lm_head=True)
        return -output.log_probs.mean()

    def plain() -> torch.Tensor:
        logits = model.lm_head(states.requires_grad_()[0, :-1])
        return token_losses(logits, labels[0, 1:]).mean()

    times = {
        name: median_seconds(lambda run=run: run().backward(), REPEATS)
        for name, run in (("fused", fused), ("plain", plain))
    }
    memory = {
        name: extra_gib(run, model, states) for name, run in (("fused", fused), ("plain", plain))
    }
    ratio = times["fused"] / times["plain"]
    return Result(
        "head",
        f"at most {MOST_GIB} GiB beside inputs and gradients, {MOST_TIMES} times the plain time",
        memory["fused"] <= MOST_GIB and ratio <= MOST_TIMES,
        {
            "extra_gib": {name: round(value, 3) for name, value in memory.items()},
            "ms": {name: round(1000 * value, 2) for name, value in times.items()},
            "time_ratio": round(ratio, 3),
            "loss": {"fused": float(fused()), "plain": float(plain())},
        },
    )


def head_alone(hidden: int, vocabulary: int) -> Qwen2ForCausalLM:
    """Return a model without layers whose final norm does nothing, with TRL's fused head."""
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden,
        num_hidden_layers=0,
        num_attention_heads=hidden // 128 or 1,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    model.model.norm = cast(Any, torch.nn.Identity())
    cast(torch.nn.Module, model).to(device(), torch.bfloat16)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def extra_gib(
    run: Callable[[], torch.Tensor], model: torch.nn.Module, states: torch.Tensor
) -> float:
    """Return the peak of a forward and backward pass beside inputs and their gradients.

    It is 0 without a GPU, where nothing counts it.
    """
    if not torch.cuda.is_available():
        return 0.0
    run().backward()  # the gradients are there from now on
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run().backward()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


if __name__ == "__main__":
    measure().print_line()
