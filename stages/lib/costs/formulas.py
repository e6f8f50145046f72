"""What training, generating and quantizing cost, from a model's shape and the parameters.

Estimates, meant to be right within a third: bytes are what the project's own code keeps,
hours are FLOPs and bytes over a share of one NVIDIA A100 80 GB SXM (its data sheet: 312
TFLOP/s in bf16 without sparsity, 2.039 TB/s). N counts parameters, L layers, h, i and V are
the widths of the model, of its feed-forward layers and of the vocabulary, T a row's tokens.

Held against what was measured: activations are within 1% of what autograd keeps of a Llama
and 10% below of a Gemma, quantized files within 0.2% of the default run's. A step of the
embedded model's full tuning, on a row of 1,953 tokens of which 899 were supervised, with the
attention of a GPU, had 3.90 GiB of tensors at its peak by PyTorch's profiler: 4.06 GiB are
estimated. The processes of the default run peaked at 6.3 to 7.1 GiB on a CPU, where the
program counts too, attention keeps its scores, and freed memory is not given back.
"""

from math import ceil

from stages.lib.params.quantization import QuantizedModel
from stages.lib.params.training import AdapterTuning, Launch, Train, Tuning
from stages.lib.provenance.catalog import Shape

FLOPS = 312e12
BYTES_PER_SECOND = 2.039e12
# Of them, what training and long prompts reach, and what generation reaches.
COMPUTE_SHARE, BANDWIDTH_SHARE = 0.4, 0.6
# Of a GPU, what vLLM takes for weights, keys and values.
ENGINE_SHARE = 0.9

# NF4 with double quantization: 4 bits, an 8-bit scale per 64 weights and a 32-bit one per
# 256 of these (Dettmers et al. 2023, QLoRA, section 3).
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)

# GPTQ of OPT-13B took 20.9 minutes on one A100 (Frantar et al. 2023, GPTQ, table 1).
GPTQ_HOURS_PER_PARAMETER = 20.9 / 60 / 13e9

# DeepSpeed's defaults: reduce_bucket_size, and stage3_max_live_parameters, in bf16.
_BUCKET_BYTES, _LIVE_BYTES = 2 * 5e8, 2 * 1e9


def trained_parameters(shape: Shape, tuning: Tuning) -> int:
    """Return how many parameters are trained: all, or those of the adapters."""
    if isinstance(tuning, AdapterTuning):
        return shape.adapter_parameters(tuning.r, tuning.targets)
    return shape.parameters()


def base_bytes(shape: Shape, tuning: Tuning) -> float:
    """Return the bytes of the model's own weights: bf16, or linear layers in NF4."""
    if tuning.method != "qlora":
        return 2 * shape.parameters()
    linear = shape.linear_parameters()
    return linear * NF4_BITS / 8 + 2 * (shape.parameters() - linear)


def state_bytes(shape: Shape, tuning: Tuning, launch: Launch | None) -> tuple[float, float]:
    """Return the bytes of one GPU's weights, gradients and optimizer: while learning, in a step.

    Full tuning keeps 16 bytes per parameter (``stages.lib.training.optim``): weights and
    gradients in bf16, and in 32 bits their copies and Adam's two moments. The step makes 4
    more, the gradients in 32 bits. Adapters are 32-bit numbers, with moments of 32 or 8 bits.
    ZeRO and FSDP divide by the processes what they split (Rajbhandari et al. 2020, ZeRO,
    section 3), and hold at a time DeepSpeed's buckets, or the embeddings and two blocks. DDP
    adds a copy of the gradients.
    """
    count = trained_parameters(shape, tuning)
    strategy = None if launch is None else launch.strategy
    share = 1 if launch is None else 1 / launch.processes
    if isinstance(tuning, AdapterTuning):
        adam = 2 if tuning.optimizer == "paged_adamw_8bit" else 8
        held, gradients, states, copies = 4, 4, adam, 0
        frozen = base_bytes(shape, tuning)
        largest = max(i * o for i, o in shape.linear_layers().values())
        extra = 2 * largest if tuning.method == "qlora" else 0
    else:
        held, gradients, states, copies, frozen, extra = 2, 2, 12, 4, 0.0, 0
    if strategy in ("fsdp2", "zero3"):
        held, gradients, frozen = held * share, gradients * share, frozen * share
        extra += _unsharded(shape) if strategy == "fsdp2" else min(_LIVE_BYTES, 2 * count)
    if strategy in ("fsdp2", "zero1", "zero3"):
        states, copies = states * share, copies * share
    if strategy == "zero1":
        extra += _BUCKET_BYTES
    if strategy == "ddp":
        extra += gradients * count
    learning = frozen + extra + (held + gradients + states) * count
    return learning, learning + copies * count


def activation_bytes(shape: Shape, tuning: Tuning, tokens: int, *, longest: int) -> float:
    """Return the bytes that autograd keeps of the blocks for a row of packed ``tokens``.

    The count of Korthikanti et al. 2022 (Reducing Activation Recomputation, section 4.1),
    made for these models: without dropout, with fused attention, norms in 32 bits and
    SwiGLU, of each block and token 16h for the norms, 8a for the queries, keys, values and
    result of attention (a: heads times their width), 8i for the feed-forward layers, and
    2 x ``longest`` for the mask, which spans the row, or the padded answer, that a token is in.
    Adapters keep instead 8h, 8a and 6i, and of each of their layers a copy of the inputs in
    32 bits (and what dropout left out) and 4r. Nothing is computed a second time.
    """
    attention, heads = shape.heads * shape.head_dim, 4 * shape.heads
    per_token = 8 * attention + heads + 8 + 2 * longest
    if isinstance(tuning, AdapterTuning):
        copied = 5 if tuning.dropout else 4
        widths = shape.linear_layers()
        inputs = [widths[one][0] for one in tuning.targets if one in widths]
        per_token += 8 * shape.hidden + 6 * shape.intermediate
        per_token += sum(copied * width + 4 * tuning.r for width in inputs)
    else:
        per_token += 16 * shape.hidden + 8 * shape.intermediate
    return shape.layers * tokens * per_token


def head_bytes(shape: Shape, supervised: int) -> float:
    """Return the bytes of the logits of a row's ``supervised`` tokens: 10V each.

    At the peak there are log-probabilities and their gradient in 32 bits, and that of the
    logits in bf16 (``stages.lib.sft.loss`` makes logits at supervised tokens alone).
    """
    return 10 * shape.vocabulary * supervised


def training_bytes(shape: Shape, settings: Train, *, tokens: int, supervised: int) -> float:
    """Return the peak bytes on each GPU: of a row's gradient, or of the optimizer's step.

    With gradient checkpointing, a block's inputs are kept, 2h per token, and the activations
    of the one block that is computed again (Chen et al. 2016, arXiv:1604.06174).
    """
    tuning = settings.tuning
    learning, step = state_bytes(shape, tuning, settings.launch)
    kept = activation_bytes(shape, tuning, tokens, longest=tokens)
    if settings.gradient_checkpointing:
        kept = kept / shape.layers + 2 * shape.hidden * shape.layers * tokens
    return max(learning + kept + head_bytes(shape, supervised), step)


def forward_flops(shape: Shape, tokens: float, *, context: float, read: float) -> float:
    """Return the FLOPs of computing ``tokens``, each with ``context`` before it.

    2 per weight of the blocks, 4 x L x a x context for attention (Kaplan et al. 2020, table
    1), and 2hV for each of the ``read`` tokens whose logits are made.
    """
    attention = 4 * shape.layers * shape.heads * shape.head_dim * context
    blocks = (2 * shape.linear_parameters() + attention) * tokens
    return blocks + 2 * shape.hidden * shape.vocabulary * read


def training_hours(
    shape: Shape,
    tuning: Tuning,
    *,
    tokens: float,
    row: float,
    supervised: float,
    again: bool = False,
) -> float:
    """Return the GPU hours of learning from ``tokens`` in rows of ``row``.

    Backwards costs twice as much as forwards; with adapters as much, as frozen weights
    have no gradient. ``again`` says that forwards is computed a second time.
    """
    times = (2 if isinstance(tuning, AdapterTuning) else 3) + again
    forward = forward_flops(shape, tokens, context=row, read=supervised)
    return times * forward / (FLOPS * COMPUTE_SHARE) / 3600


def engine_batch(shape: Shape, weights: float, context: float, *, memory: float, most: int) -> int:
    """Return how many answers a GPU of ``memory`` bytes makes at a time, at most ``most``."""
    free = ENGINE_SHARE * memory - weights
    return max(1, min(most, int(free / (context * shape.kv_bytes()))))


def generation_hours(
    shape: Shape, weights: float, *, prompts: float, answers: float, context: float, batch: int
) -> float:
    """Return the GPU hours of ``answers`` tokens to ``prompts`` tokens, ``batch`` at a time.

    Of each pass over a batch the larger of two times: to read the weights and the keys and
    values, and to compute (Pope et al. 2022, Efficiently Scaling Transformer Inference).
    """
    read = (weights + batch * context * shape.kv_bytes()) / (BYTES_PER_SECOND * BANDWIDTH_SHARE)
    rate = FLOPS * COMPUTE_SHARE
    computed = forward_flops(shape, batch, context=context, read=batch) / rate
    asked = forward_flops(shape, prompts, context=context, read=0) / rate
    return (answers / batch * max(read, computed) + asked) / 3600


def quantized_bytes(shape: Shape, made: QuantizedModel, group_size: int) -> float:
    """Return the bytes of a quantized model's file; what is no linear layer stays in bf16.

    GPTQ's format has, beside the weights, for every group a scale in 16 bits and a zero
    point, and 4 bytes per input; LLM.int8() a scale in 32 bits per output.
    """
    total = 2 * (shape.parameters() - shape.linear_parameters())
    for inputs, outputs in shape.linear_layers().values():
        weights = inputs * outputs
        if made.method == "nf4":
            size = weights * NF4_BITS / 8
        elif made.method == "int8":
            size = weights + 4 * outputs
        else:
            groups = outputs * ceil(inputs / (inputs if group_size == -1 else group_size))
            size = weights * made.bits / 8 + groups * (2 + made.bits / 8) + 4 * inputs
        total += shape.layers * size
    return total


def quantizing_bytes(shape: Shape, made: QuantizedModel, *, tokens: int) -> float:
    """Return the peak bytes on the GPU of quantizing a model, calibrated on ``tokens``.

    GPTQ holds a block in bf16, for its widest layer the weights, the matrix of its inputs'
    products and two like it in 32 bits, and the inputs and results of the block. The
    formats of bitsandbytes hold the packed model and its largest layer.
    """
    widths = shape.linear_layers().values()
    largest = max(inputs * outputs for inputs, outputs in widths)
    if made.method in ("nf4", "int8"):
        return quantized_bytes(shape, made, -1) + 2 * largest
    block = 2 * shape.linear_parameters() / shape.layers
    if made.method == "rtn":
        return block + 4 * largest
    products = 3 * 4 * max(inputs for inputs, _ in widths) ** 2
    return block + 4 * largest + products + 2 * 2 * tokens * shape.hidden


def checkpoint_bytes(shape: Shape, tuning: Tuning, *, steps: int, save_every: int) -> float:
    """Return the bytes on disk of a run's checkpoints at their most: three, as one is written.

    Full tuning: weights in bf16, and the optimizer's 12 bytes per parameter.
    """
    each = 14
    if isinstance(tuning, AdapterTuning):
        each = 4 + (2 if tuning.optimizer == "paged_adamw_8bit" else 8)
    written = (steps - 1) // save_every
    return min(written, 3) * each * trained_parameters(shape, tuning)


def _unsharded(shape: Shape) -> float:
    return 2 * (shape.embedding_parameters() + 2 * shape.linear_parameters() / shape.layers)
