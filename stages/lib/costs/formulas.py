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

# The tile of logits that TRL's fused output layer holds.
_TILE_TOKENS, _TILE_WORDS = 4096, 32_768

# NF4 with double quantization: 4 bits, an 8-bit scale per 64 weights and a 32-bit one per
# 256 of these (Dettmers et al. 2023, QLoRA, section 3).
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)


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

    Every trained parameter takes ``parameter_bytes``. FSDP divides these and the frozen weights by
    the processes (Rajbhandari et al. 2020, ZeRO, section 3), and has the embeddings and two blocks
    whole at a time; in full tuning also the gradients of one of them, in bf16 and as they are
    summed. DDP adds a copy of the gradients. The step of full tuning works on one parameter at a
    time, with its gradient in 32 bits or, in 8-bit AdamW, its new moments.
    """
    count = trained_parameters(shape, tuning)
    weights, gradients, states = parameter_bytes(tuning, launch)
    trained = (weights + gradients + states) * count
    largest = max(map(prod, shape.linear_layers().values()))
    frozen, extra, step = 0.0, 0.0, 0.0
    if isinstance(tuning, AdapterTuning):
        frozen = base_bytes(shape, tuning)
        # QLoRA dequantizes one layer at a time to bf16.
        extra = 2 * largest if tuning.method == "qlora" else 0
    elif not _is_sharded(launch):
        step = (4 if tuning.optimizer == "adamw" else 8) * max(largest, _output_parameters(shape))
    if launch is not None and _is_sharded(launch):
        trained, frozen = trained / launch.processes, frozen / launch.processes
        extra += _unsharded(shape, tuning)
    elif launch is not None:
        extra += gradients * count
    backward = frozen + extra + trained
    return backward, backward + step


def parameter_bytes(tuning: Tuning, launch: Launch | None) -> tuple[float, float, float]:
    """Return the bytes of a trained parameter: of weight, gradient, and optimizer's state.

    Full tuning keeps weights and gradients in bf16 and, in 32 bits, a copy of the weights and
    Adam's two moments (``stages.lib.training.optim``); or the moments alone, in 8 bits with a
    32-bit scale for each 256 (``stages.lib.training.adamw_8bit``). Adapters, and what FSDP shards,
    are 32-bit numbers, with moments of 32 bits or, adapters', of 8.
    """
    if tuning.method == "full" and tuning.optimizer == "adamw_8bit":
        return 2, 2, 2 * (1 + 4 / 256)
    if tuning.method == "full" and not _is_sharded(launch):
        return 2, 2, 12
    moments = 2 if tuning.optimizer == "paged_adamw_8bit" else 8
    return 4, 4, moments


def activation_bytes(shape: Shape, tuning: Tuning, tokens: int, *, longest: int) -> float:
    """Return the bytes that autograd keeps of the blocks for a row of ``tokens`` packed tokens.

    Counted as in Korthikanti et al. 2022 (Reducing Activation Recomputation, section 4.1) for
    models without dropout, with fused attention, norms in 32 bits and SwiGLU. A block keeps for
    each token 16h for the norms, 8a for the queries, keys, values and result of attention (a:
    heads times their dimension), 8i for the feed-forward layers, and 2 x ``longest`` for a mask
    over the padded answer that the token is in; FlashAttention on packed rows has none.
    Adapters keep 8h, 8a and 6i instead, and for each of their layers a copy of the inputs in 32
    bits (with dropout its mask too) and 4r. Without gradient checkpointing.
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


def head_bytes(shape: Shape, tuning: Tuning, supervised: int) -> float:
    """Return the bytes of TRL's fused output layer for a row's ``supervised`` tokens.

    It holds the logits of a tile of tokens and words, and in 32 bits the gradient of its inputs
    and, in full tuning, of its weights (trl/kernels/chunked_logprob.py).
    """
    tile = 2 * min(supervised, _TILE_TOKENS) * min(shape.vocabulary, _TILE_WORDS)
    weights = 4 * _output_parameters(shape) if tuning.method == "full" else 0
    return tile + 4 * supervised * shape.hidden + weights


def logits_bytes(shape: Shape, supervised: int) -> float:
    """Return the bytes of all logits of a row's ``supervised`` tokens, which an anchor needs.

    They are 10V each: log-probabilities and their gradient in 32 bits, and the gradient of the
    logits in bf16.
    """
    return 10 * shape.vocabulary * supervised


def training_bytes(shape: Shape, settings: Train, *, tokens: int, supervised: int) -> float:
    """Return the peak bytes on each GPU, in a row's backward pass or in the optimizer's step.

    A row has ``tokens``, of which ``supervised`` are learned.
    """
    tuning = settings.tuning
    backward, step = state_bytes(shape, tuning, settings.launch)
    activations = activation_bytes(shape, tuning, tokens, longest=0)
    if settings.gradient_checkpointing:
        activations = recomputed_bytes(shape, activations, tokens)
    return max(backward + activations + head_bytes(shape, tuning, supervised), step)


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


def checkpoint_bytes(
    shape: Shape, tuning: Tuning, launch: Launch | None, *, steps: int, save_every: int
) -> float:
    """Return the most bytes on disk of a run's checkpoints: three, while the third is written.

    One holds the trained weights and the optimizer's state, from all processes together.
    """
    weights, _, states = parameter_bytes(tuning, launch)
    # The end of the run saves the model, not a checkpoint.
    written = (steps - 1) // save_every
    return min(written, 3) * (weights + states) * trained_parameters(shape, tuning)


def _is_sharded(launch: Launch | None) -> bool:
    return launch is not None and launch.strategy == "fsdp2"


def _output_parameters(shape: Shape) -> int:
    """Return the number of weights in the output layer, the largest parameter of most models."""
    return shape.vocabulary * shape.hidden


def _unsharded(shape: Shape, tuning: Tuning) -> float:
    """Return the bytes of what FSDP has whole at a time.

    The weights are in bf16. Full tuning has gradients in bf16 and, while they are summed over the
    processes, in 32 bits.
    """
    block = shape.linear_parameters() / shape.layers
    weights = 2 * (shape.embedding_parameters() + 2 * block)
    if isinstance(tuning, AdapterTuning):
        return weights
    return weights + (2 + 4) * max(block, _output_parameters(shape))
