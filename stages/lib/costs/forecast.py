"""Estimate tokens, GPU memory and disk of every stage of a composition, without running it.

Rows and mean tokens are those of ``stages.lib.provenance.catalog``, formulas those of
``stages.lib.costs.formulas``. Every answer is assumed to reach its token limit, so generated
tokens are an upper bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stages.lib.core.settings import overlay
from stages.lib.costs import formulas
from stages.lib.costs.flops import forward_flops, generation_flops, training_flops
from stages.lib.costs.sources import (
    TEMPLATE_TOKENS,
    MeanTokens,
    count_rows,
    mean_tokens,
    problem_sources,
)
from stages.lib.params.data import (
    RowsSource,
    TrainingSource,
)
from stages.lib.params.quantization import Gptq, Rtn, quantized_models
from stages.lib.params.root import Params
from stages.lib.params.strategies import (
    AsftArm,
    ControlArm,
    ConversationsArm,
    OnlineGroup,
    PriftArm,
)
from stages.lib.params.training import FullTuning
from stages.lib.provenance.catalog import Shape
from stages.lib.provenance.origins import find_facts, root_of

GIB = 2**30

# Bytes on disk per generated token, in Parquet: 0.7 to 1.4 in the default run.
BYTES_PER_TOKEN = 1.4


@dataclass(frozen=True, slots=True)
class StageCost:
    """Cost of a stage for one item: tokens, GiB on each of its GPUs, bytes on disk, FLOPs.

    ``scratch_bytes`` are deleted when the stage ends, such as checkpoints.
    """

    stage: str
    item: str
    tokens: float
    gpus: int
    gpu_gib: float
    disk_bytes: float
    scratch_bytes: float = 0.0
    flops: float = 0.0


class Workload(NamedTuple):
    """Answers to generate: how many, to which prompts, with how many examples, up to which limit.

    ``mean`` is of a prompt without the in-context examples.
    """

    answers: int
    mean: MeanTokens
    shots: int
    max_tokens: int


def estimate_stages(params: Params, shapes: Mapping[str, Shape], gpu_gib: float) -> list[StageCost]:
    """Return the costs of a composition, in the order of the stages.

    ``shapes`` are those of the base model, ``base``, and of the models of ``model.others`` that
    have a known one; others cost nothing here. ``gpu_gib`` is the memory of each GPU.
    """
    shape = shapes["base"]
    costs = [_fetch("model", "base", params.model.base, shape)]
    costs += [
        _fetch("fetch", name, source, shapes[name])
        for name, source in params.model.others.items()
        if name in shapes
    ]
    quantized, evaluated = quantized_models(params.quantize), params.evaluate.models
    known = {
        name: shapes[root]
        for name in [*params.model.adapted, *quantized, *evaluated]
        if (root := root_of(params, name)) in shapes
    }
    costs += [
        StageCost("merge", name, 0, 0, 0, 2 * known[name].parameters())
        for name in params.model.adapted
        if name in known
    ]
    if params.sample.k:
        costs.append(_sample(params, shape, gpu_gib))
    costs += [_train(params, shape, "train", name, name) for name in params.weigh.arms]
    costs += [
        _train(params, shape, "replay", name, replay.arm)
        for name, replay in params.weigh.replays.items()
    ]
    costs += [_grpo(params, shape, name, gpu_gib) for name in params.grpo.models]
    costs += [_quantize(params, known[name], name) for name in quantized if name in known]
    costs += [_evaluate(params, known[name], name, gpu_gib) for name in evaluated if name in known]
    return costs


def sum_costs(costs: Sequence[StageCost]) -> StageCost:
    """Return the sum of tokens and kept disk, and the maximum of what stages use in turn."""
    return StageCost(
        "all",
        "",
        sum(cost.tokens for cost in costs),
        max(cost.gpus for cost in costs),
        max(cost.gpu_gib for cost in costs),
        sum(cost.disk_bytes for cost in costs),
        max(cost.scratch_bytes for cost in costs),
        sum(cost.flops for cost in costs),
    )


def host_bytes(params: Params, shape: Shape) -> float:
    """Return the bytes of host memory for loading the model, before GPUs get it.

    ``model``, ``quantize`` and every process of ``train`` load it whole in bf16. With FSDP the
    first process alone does, in 32 bits.
    """
    launch = params.train.launch
    if launch is not None and launch.strategy == "fsdp2":
        return 4 * shape.parameters()
    return 2 * shape.parameters() * (1 if launch is None else launch.processes)


def _fetch(stage: str, name: str, source: str, shape: Shape) -> StageCost:
    copies = 2 if source.startswith("hub:") else 1  # one of them in the Hub's cache
    return StageCost(stage, name, 0, 0, 0, copies * 2 * shape.parameters())


def _sample(params: Params, shape: Shape, gpu_gib: float) -> StageCost:
    sample, rungs = params.sample, len(params.prepare.rungs)
    sources = problem_sources(params)
    # Sequential rounds sample chain-of-thought answers alone.
    per_problem = sample.sequential.max_k if sample.sequential else sample.k
    per_problem += sample.k * (len(sample.prompting) - 1)
    answers = per_problem * sum(count_rows(source, rungs) for source in sources)
    workload = Workload(answers, mean_tokens(sources, rungs), sample.shots, sample.max_tokens)
    weights = 2 * shape.parameters()
    return _generate(params, shape, ("sample", "base"), [workload], weights, gpu_gib)


def _train(params: Params, shape: Shape, stage: str, name: str, arm_name: str) -> StageCost:
    arm = params.weigh.arms[arm_name]
    settings = overlay(params.train, arm.train)
    sources: Sequence[TrainingSource] = problem_sources(params)
    if isinstance(arm, ConversationsArm):
        rows_sources = [item for item in params.prepare.train if isinstance(item, RowsSource)]
        sources = [source for source in rows_sources if source.name in arm.sources]
    mean = mean_tokens(sources, len(params.prepare.rungs))
    # The parameters fix the supervised tokens; the prompts come on top.
    supervised = settings.steps * settings.tokens_per_step
    tokens = supervised * (mean.prompt + mean.answer) / mean.answer
    row = tokens / settings.steps / settings.micro_batches
    if settings.row_tokens is not None and not isinstance(arm, OnlineGroup):
        row = settings.row_tokens
    peak = formulas.training_bytes(
        shape, settings, tokens=round(row), supervised=round(row * supervised / tokens)
    )
    context = mean.prompt + mean.answer
    flops = training_flops(shape, tokens=tokens, supervised=supervised, context=context)
    if settings.gradient_checkpointing:
        flops *= 4 / 3  # the forward pass once more
    source = params.weigh.arms[arm.control_of] if isinstance(arm, ControlArm) else arm
    if isinstance(source, AsftArm | PriftArm):
        peak += 2 * shape.parameters()  # the frozen base model
    if isinstance(source, AsftArm):
        peak += 2 * formulas.logits_bytes(shape, round(row * supervised / tokens))
    checkpoints = formulas.checkpoint_bytes(
        shape,
        settings.tuning,
        settings.launch,
        steps=settings.steps,
        save_every=settings.save_every,
    )
    gpus = 1 if settings.launch is None else settings.launch.processes
    disk = 2 * shape.parameters()
    return StageCost(stage, name, tokens, gpus, peak / GIB, disk, checkpoints, flops)


def _grpo(params: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    settings, tuning = params.grpo, params.grpo.models[name].tuning
    weights = 2 * shape.parameters()
    prompt = mean_tokens(problem_sources(params), len(params.prepare.rungs)).prompt
    length = round(prompt + settings.max_tokens)
    answers = settings.prompts_per_step * settings.generations
    micro_batch = answers // settings.micro_batches
    # GRPO trains QLoRA's adapters beside dequantized weights (``adapters.load_policy``).
    held = tuning.model_copy(update={"method": "lora"}) if tuning.method == "qlora" else tuning
    # Beside the training state, the GPU holds the parent's weights, which adapters share with
    # the trained model, and vLLM's share.
    parent = weights if isinstance(tuning, FullTuning) and settings.beta > 0 else 0
    backward, step = formulas.state_bytes(shape, held, settings.launch)
    activations = formulas.activation_bytes(shape, held, micro_batch * length, longest=length)
    if settings.gradient_checkpointing:
        activations = formulas.recomputed_bytes(shape, activations, micro_batch * length)
    backward += activations + formulas.head_bytes(shape, tuning, micro_batch * settings.max_tokens)
    peak = max(backward, step) + parent + settings.gpu_memory_share * gpu_gib * GIB
    checkpoints = formulas.checkpoint_bytes(
        shape, tuning, None, steps=settings.steps, save_every=settings.save_every
    )
    # At most, as all groups of a round may have to be replaced each time.
    resamples = settings.steps // settings.iterations * settings.max_resamples
    tokens = (settings.steps + resamples) * answers * length
    gpus = 1 if settings.launch is None else settings.launch.processes
    # Sampling is a forward pass beside those of training.
    supervised = tokens * settings.max_tokens / length
    flops = 4 / 3 * training_flops(shape, tokens=tokens, supervised=supervised, context=length)
    return StageCost("grpo", name, tokens, gpus, peak / GIB, weights, checkpoints, flops)


def _quantize(params: Params, shape: Shape, name: str) -> StageCost:
    settings, model = params.quantize, quantized_models(params.quantize)[name]
    calibration = settings.calibration
    tokens = calibration.examples * calibration.max_length if isinstance(model, Gptq) else 0
    peak = formulas.quantizing_bytes(shape, model, tokens=tokens)
    disk = formulas.quantized_bytes(shape, model, settings.group_size)
    # One pass for the Hessians, one for the next layer's inputs.
    flops = 2 * forward_flops(shape, tokens=tokens, seen=calibration.max_length / 2)
    stage = "quantize" if isinstance(model, Gptq) else "round"
    return StageCost(stage, name, tokens, 1, peak / GIB, disk, flops=flops)


def _evaluate(params: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    workloads, sampling = [], params.evaluate.sampling
    for benchmark, source in params.prepare.benchmarks.items():
        facts = find_facts(source)
        mean = MeanTokens(facts.question_tokens + TEMPLATE_TOKENS, facts.answer_tokens)
        answers = count_rows(source, len(params.prepare.rungs)) * len(params.evaluate.prompting)
        answers *= 1 + (sampling.samples if sampling else 0)
        limit = params.evaluate.max_tokens[benchmark]
        workloads += [
            Workload(answers, mean, shots, limit) for shots in params.evaluate.models[name]
        ]
    weights, unpacked = 2.0 * shape.parameters(), 0.0
    model = quantized_models(params.quantize).get(name)
    if model is not None:
        # vLLM runs symmetric 4- and 8-bit GPTQ files; others are unpacked to bf16 first.
        if isinstance(model, Gptq | Rtn) and model.bits in (4, 8) and params.quantize.symmetric:
            weights = formulas.quantized_bytes(shape, model, params.quantize.group_size)
        else:
            unpacked = weights
    stage = ("evaluate", name)
    return _generate(params, shape, stage, workloads, weights, gpu_gib, scratch_bytes=unpacked)


def _generate(
    params: Params,
    shape: Shape,
    stage: tuple[str, str],
    workloads: Sequence[Workload],
    weights: float,
    gpu_gib: float,
    *,
    scratch_bytes: float = 0.0,
) -> StageCost:
    """Return the cost of a stage and item that generates, with ``weights`` bytes of weights."""
    engine = params.engine
    memory = engine.tensor_parallel * gpu_gib * GIB
    limit = engine.max_num_seqs or formulas.ENGINE_SEQUENCES
    if engine.queue == "batch":
        limit = min(limit, engine.batch_size)
    tokens, cache, flops = 0, 0.0, 0.0
    for workload in workloads:
        prompt, answer = workload.mean
        context = prompt + workload.shots * (prompt + answer) + workload.max_tokens
        batch = formulas.engine_batch(shape, weights, context, memory=memory, limit=limit)
        batch = min(batch, max(workload.answers, 1))
        tokens += workload.answers * workload.max_tokens
        read, written = context - workload.max_tokens, workload.max_tokens
        flops += generation_flops(shape, prompt=read, generated=written, answers=workload.answers)
        cache = max(cache, batch * context * shape.kv_bytes())
    return StageCost(
        *stage,
        tokens,
        engine.engines * engine.tensor_parallel,
        (weights + cache) / formulas.ENGINE_SHARE / GIB / engine.tensor_parallel,
        tokens * BYTES_PER_TOKEN,
        scratch_bytes,
        flops,
    )
