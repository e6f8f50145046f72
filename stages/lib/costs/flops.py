"""FLOPs of training and generation, and hours where a device's rate is known.

They are model FLOPs: what is computed again (gradient checkpointing) is not counted twice. With
both halves of the attention matrix counted, as torchtitan does, the formula gives the share of
the peak that its authors state for Llama-3.1-8B (33% and 39% of an H100; tests/lib/costs).
"""

from dataclasses import dataclass

from stages.lib.provenance.catalog import LLAMA_8B, Shape


def training_flops(shape: Shape, *, tokens: float, supervised: float, context: float) -> float:
    """Return the FLOPs of forward and backward over ``tokens`` in examples of ``context`` tokens.

    They are 6 for each weight of a linear layer, and of the output layer at ``supervised``
    tokens (Kaplan et al. 2020), and for attention 12 for each value of a query and each token
    that it sees, ``context`` / 2 on average (Chowdhery et al. 2022, PaLM, appendix B).
    """
    head = shape.vocabulary * shape.hidden
    return 3 * (forward_flops(shape, tokens=tokens, seen=context / 2) + 2 * head * supervised)


def generation_flops(shape: Shape, *, prompt: float, generated: float, answers: float) -> float:
    """Return the FLOPs of ``answers`` of ``generated`` tokens to prompts of ``prompt`` tokens.

    A prompt is counted once for each answer, though a shared one is read once.
    """
    total = prompt + generated
    head = 2 * shape.vocabulary * shape.hidden * generated
    return answers * (forward_flops(shape, tokens=total, seen=total / 2) + head)


def forward_flops(shape: Shape, *, tokens: float, seen: float) -> float:
    """Return the FLOPs of the blocks over ``tokens``, each of which sees ``seen`` tokens."""
    attention = 2 * 2 * shape.layers * shape.heads * shape.head_dim * seen
    return tokens * (2 * shape.linear_parameters() + attention)


@dataclass(frozen=True, slots=True)
class Rate:
    """The training FLOP/s of one device, and where the figure is from."""

    flops_per_s: float
    source: str


def _of_llama_8b(tokens_per_s: float) -> float:
    per_token = training_flops(LLAMA_8B, tokens=1, supervised=1, context=8192)
    return tokens_per_s * per_token


# Rates that somebody measured; a device that is not here gets no hours.
RATES = {
    "h100": Rate(
        _of_llama_8b(5_762),
        "torchtitan's 5,762 tokens/s a GPU for Llama-3.1-8B in rows of 8,192 tokens, on eight H100 "
        "of 500 W, FSDP without torch.compile (benchmarks/llama3_h100_202412_torchtitan.md)",
    ),
    "epyc-2-cores": Rate(
        1.9e11,
        "the trainings of the default run, imports included, on two cores of an AMD EPYC with "
        "AVX-512 (docs/measured.md)",
    ),
}


def training_hours(flops: float, device: str, count: int) -> float:
    """Return the hours of a training's FLOPs on ``count`` devices at the known rate of one."""
    return flops / (RATES[device].flops_per_s * count) / 3600
