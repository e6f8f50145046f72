"""Bytes that training, generation and quantization need, from a model's shape and parameters.

Estimates, meant to be right within a third, of what the project's own code keeps. N counts
parameters, L layers; h, i and V are the dimensions of the model, of its feed-forward layers and
of the vocabulary; T counts a row's tokens.

Compared with measurements: activations are within 1% of what autograd keeps for a Llama and 10%
below for a Gemma; quantized files are within 0.2% of the default run's. One step of full tuning of
the embedded model, on a row of 1,953 tokens of which 899 were supervised, with a GPU's attention,
had 3.90 GiB of tensors at its peak by PyTorch's profiler; the estimate is 4.06 GiB. The processes
of the default run peaked at 6.3 to 7.1 GiB on a CPU, where the program itself counts too,
attention keeps its scores, and freed memory is not given back.
"""

from math import ceil, prod

from stages.lib.params.quantization import QuantizedModel
from stages.lib.params.training import AdapterTuning, Launch, Train, Tuning
from stages.lib.provenance.catalog import Shape

# Share of a GPU's memory that vLLM takes for weights, keys and values.
ENGINE_SHARE = 0.9

# How many requests vLLM runs at a time by default, on a GPU of 70 GiB or more.
ENGINE_SEQUENCES = 1024

# NF4 with double quantization: 4 bits, an 8-bit scale per 64 weights and a 32-bit one per
# 256 of these (Dettmers et al. 2023, QLoRA, section 3).
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)

# DeepSpeed's defaults for reduce_bucket_size and stage3_max_live_parameters, in bf16.
_BUCKET_BYTES, _LIVE_BYTES = 2 * 5e8, 2 * 1e9


def trained_parameters(shape: Shape, tuning: Tuning) -> int:
    """Return the number of trained parameters: all, or those of the adapters."""
    if isinstance(tuning, AdapterTuning):
        return shape.adapter_parameters(tuning.r, tuning.targets)
    return shape.parameters()


def base_bytes(shape: Shape, tuning: Tuning) -> float:
    """Return the bytes of the model's own weights: in bf16, for QLoRA linear layers in NF4."""
    if tuning.method != "qlora":
        return 2 * shape.parameters()
    linear = shape.linear_parameters()
    return linear * NF4_BITS / 8 + 2 * (shape.parameters() - linear)


def state_bytes(shape: Shape, tuning: Tuning, launch: Launch | None) -> tuple[float, float]:
    """Return the bytes on one GPU of weights, gradients and optimizer: in backward, in a step.

    Full tuning keeps 16 bytes per parameter (``stages.lib.training.optim``): weights and
    gradients in bf16, and in 32 bits a copy of the weights and Adam's two moments. The step makes
    4 more, the gradients in 32 bits. Adapters are 32-bit numbers, with moments of 32 or 8 bits.
    ZeRO and FSDP divide what they shard by the processes (Rajbhandari et al. 2020, ZeRO,
    section 3), and hold at a time DeepSpeed's buckets, or the embeddings and two blocks. DDP
    adds a copy of the gradients.
    """
    count = trained_parameters(shape, tuning)
    strategy = None if launch is None else launch.strategy
    share = 1 if launch is None else 1 / launch.processes
    # Bytes per trained parameter: weights, gradients, optimizer state, gradients in 32 bits.
    if isinstance(tuning, AdapterTuning):
        adam = 2 if tuning.optimizer == "paged_adamw_8bit" else 8
        weights, gradients, states, copies = 4, 4, adam, 0
        frozen = base_bytes(shape, tuning)
        largest = max(map(prod, shape.linear_layers().values()))
        # QLoRA dequantizes one layer at a time to bf16.
        extra = 2 * largest if tuning.method == "qlora" else 0
    else:
        weights, gradients, states, copies, frozen, extra = 2, 2, 12, 4, 0.0, 0
    if strategy in ("fsdp2", "zero3"):
        weights, gradients, frozen = weights * share, gradients * share, frozen * share
        extra += _unsharded(shape) if strategy == "fsdp2" else min(_LIVE_BYTES, 2 * count)
    if strategy in ("fsdp2", "zero1", "zero3"):
        states, copies = states * share, copies * share
    if strategy == "zero1":
        extra += _BUCKET_BYTES
    if strategy == "ddp":
        extra += gradients * count
    backward = frozen + extra + (weights + gradients + states) * count
    return backward, backward + copies * count


def activation_bytes(shape: Shape, tuning: Tuning, tokens: int, *, longest: int) -> float:
    """Return the bytes that autograd keeps of the blocks for a row of ``tokens`` packed tokens.

    Counted as in Korthikanti et al. 2022 (Reducing Activation Recomputation, section 4.1) for
    models without dropout, with fused attention, norms in 32 bits and SwiGLU. A block keeps for
    each token 16h for the norms, 8a for the queries, keys, values and result of attention (a:
    heads times their dimension), 8i for the feed-forward layers, and 2 x ``longest`` for the
    mask, which spans the row, or the padded answer, that the token is in. Adapters keep 8h, 8a
    and 6i instead, and for each of their layers a copy of the inputs in 32 bits (with dropout
    its mask too) and 4r. Without gradient checkpointing.
    """
    attention, heads = shape.heads * shape.head_dim, 4 * shape.heads
    per_token = 8 * attention + heads + 8 + 2 * longest
    if isinstance(tuning, AdapterTuning):
        layers = shape.linear_layers()
        per_input = 5 if tuning.dropout else 4
        inputs = [layers[name][0] for name in tuning.targets if name in layers]
        per_token += 8 * shape.hidden + 6 * shape.intermediate
        per_token += sum(per_input * size + 4 * tuning.r for size in inputs)
    else:
        per_token += 16 * shape.hidden + 8 * shape.intermediate
    return shape.layers * tokens * per_token


def head_bytes(shape: Shape, supervised: int) -> float:
    """Return the bytes of the output layer for a row's ``supervised`` tokens: 10V each.

    The peak has log-probabilities and their gradient in 32 bits, and the gradient of the logits
    in bf16. Logits are computed at supervised tokens only (``stages.lib.sft.loss``).
    """
    return 10 * shape.vocabulary * supervised


def training_bytes(shape: Shape, settings: Train, *, tokens: int, supervised: int) -> float:
    """Return the peak bytes on each GPU, in a row's backward pass or in the optimizer's step.

    A row has ``tokens``, of which ``supervised`` are learned.
    """
    tuning = settings.tuning
    backward, step = state_bytes(shape, tuning, settings.launch)
    activations = activation_bytes(shape, tuning, tokens, longest=tokens)
    if settings.gradient_checkpointing:
        activations = recomputed_bytes(shape, activations, tokens)
    return max(backward + activations + head_bytes(shape, supervised), step)


def recomputed_bytes(shape: Shape, activations: float, tokens: int) -> float:
    """Return what is left of a row's ``activations`` bytes with gradient checkpointing.

    Each block's inputs stay, 2h per token, and the activations of the one block that is computed
    again (Chen et al. 2016, arXiv:1604.06174).
    """
    return activations / shape.layers + 2 * shape.hidden * shape.layers * tokens


def engine_batch(shape: Shape, weights: float, context: float, *, memory: float, limit: int) -> int:
    """Return how many answers of ``context`` tokens fit ``memory`` bytes, from 1 to ``limit``."""
    free = ENGINE_SHARE * memory - weights
    return max(1, min(limit, int(free / (context * shape.kv_bytes()))))


def quantized_bytes(shape: Shape, model: QuantizedModel, group_size: int) -> float:
    """Return the bytes of a quantized model's file; all but linear layers stay in bf16.

    Beside the weights, GPTQ's format has a 16-bit scale and a zero point for every group, and 4
    bytes per input; LLM.int8() has a 32-bit scale per output.
    """
    total = 2 * (shape.parameters() - shape.linear_parameters())
    for inputs, outputs in shape.linear_layers().values():
        weights = inputs * outputs
        if model.method == "nf4":
            size = weights * NF4_BITS / 8
        elif model.method == "int8":
            size = weights + 4 * outputs
        else:
            groups = outputs * ceil(inputs / (inputs if group_size == -1 else group_size))
            size = weights * model.bits / 8 + groups * (2 + model.bits / 8) + 4 * inputs
        total += shape.layers * size
    return total


def quantizing_bytes(shape: Shape, model: QuantizedModel, *, tokens: int) -> float:
    """Return the peak bytes on the GPU of quantizing a model, calibrated on ``tokens``.

    GPTQ holds one block in bf16; for its widest layer the weights and three matrices of the
    size of its Hessian, in 32 bits; and the block's inputs and outputs. The formats of
    bitsandbytes hold the packed model and its largest layer.
    """
    layers = shape.linear_layers().values()
    largest = max(map(prod, layers))
    if model.method in ("nf4", "int8"):
        return quantized_bytes(shape, model, -1) + 2 * largest
    block = 2 * shape.linear_parameters() / shape.layers
    if model.method == "rtn":
        return block + 4 * largest
    hessians = 3 * 4 * max(inputs for inputs, _ in layers) ** 2
    return block + 4 * largest + hessians + 2 * 2 * tokens * shape.hidden


def checkpoint_bytes(shape: Shape, tuning: Tuning, *, steps: int, save_every: int) -> float:
    """Return the most bytes on disk of a run's checkpoints: three, while the third is written.

    Full tuning saves weights in bf16 and the optimizer's 12 bytes per parameter.
    """
    per_parameter = 14
    if isinstance(tuning, AdapterTuning):
        per_parameter = 4 + (2 if tuning.optimizer == "paged_adamw_8bit" else 8)
    # The end of the run saves the model, not a checkpoint.
    written = (steps - 1) // save_every
    return min(written, 3) * per_parameter * trained_parameters(shape, tuning)


def _unsharded(shape: Shape) -> float:
    """Return the bytes of what FSDP gathers at a time: the embeddings and two blocks."""
    return 2 * (shape.embedding_parameters() + 2 * shape.linear_parameters() / shape.layers)
