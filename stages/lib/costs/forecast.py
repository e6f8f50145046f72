"""Estimate tokens, GPU memory and disk of every stage of a composition, without running it.

Rows and mean tokens are those of ``stages.lib.provenance.catalog``, formulas those of
``stages.lib.costs.formulas``. Every answer is assumed to reach its token limit, so generated
tokens are an upper bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from stages.lib.core.settings import overlay
from stages.lib.costs import formulas
from stages.lib.params.data import (
    BenchmarkSource,
    FileSource,
    LadderSource,
    RowsSource,
    TrainingSource,
)
from stages.lib.params.quantization import Gptq, Rtn
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
from stages.lib.provenance.ladder_path import parse_ladder_path
from stages.lib.provenance.origins import find_facts

GIB = 2**30

# Tokens of a prompt beside the question: 19 in the embedded model's template, assumed for all.
TEMPLATE_TOKENS = 20

# Bytes on disk per generated token, in Parquet: 0.7 to 1.4 in the default run.
BYTES_PER_TOKEN = 1.4


@dataclass(frozen=True, slots=True)
class StageCost:
    """Cost of a stage for one item: tokens, GiB on each of its GPUs, bytes on disk.

    ``scratch_bytes`` are deleted when the stage ends, such as checkpoints.
    """

    stage: str
    item: str
    tokens: float
    gpus: int
    gpu_gib: float
    disk_bytes: float
    scratch_bytes: float = 0.0


class MeanTokens(NamedTuple):
    """Mean tokens of a prompt and of an answer."""

    prompt: float
    answer: float


class Workload(NamedTuple):
    """Answers to generate: how many, to which prompts, with how many examples, up to which limit.

    ``mean`` is of a prompt without the in-context examples.
    """

    answers: int
    mean: MeanTokens
    shots: int
    max_tokens: int


def estimate_stages(params: Params, shape: Shape, gpu_gib: float) -> list[StageCost]:
    """Return the costs of a composition, in the order of the stages.

    ``shape`` is that of the base model, ``gpu_gib`` the memory of each GPU.
    """
    copies = 2 if params.model.base.startswith("hub:") else 1  # one of them in the Hub's cache
    costs = [StageCost("model", "base", 0, 0, 0, copies * 2 * shape.parameters())]
    if params.sample.k:
        costs.append(_sample(params, shape, gpu_gib))
    costs += [_train(params, shape, "train", name, name) for name in params.weigh.arms]
    costs += [
        _train(params, shape, "replay", name, replay.arm)
        for name, replay in params.weigh.replays.items()
    ]
    costs += [_grpo(params, shape, name, gpu_gib) for name in params.grpo.models]
    costs += [_quantize(params, shape, name) for name in params.quantize.models]
    costs += [_evaluate(params, shape, name, gpu_gib) for name in params.evaluate.models]
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
    )


def host_bytes(params: Params, shape: Shape) -> float:
    """Return the bytes of host memory for loading the model: bf16, once for each process.

    ``model``, ``quantize`` and every process of ``train`` load it whole before a GPU gets it.
    """
    launch = params.train.launch
    return 2 * shape.parameters() * (1 if launch is None else launch.processes)


def count_rows(source: TrainingSource | BenchmarkSource, rungs: int) -> int:
    """Return how many rows of a source are used, 0 if that is unknown."""
    if isinstance(source, LadderSource):
        return source.per_rung * rungs
    if isinstance(source, FileSource):
        with Path(source.path).open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    rows = find_facts(source).rows
    if isinstance(source, RowsSource):
        ladder = parse_ladder_path(source.path)
        return round((rows if ladder is None else ladder.per_rung * rungs) * source.fraction)
    return rows if source.size == "all" else source.size


def mean_tokens(sources: Sequence[TrainingSource], rungs: int) -> MeanTokens:
    """Return the mean tokens of sources of training data, weighted by their rows."""
    # A source with an unknown number of rows counts as one row.
    weights = [max(count_rows(source, rungs), 1) for source in sources]
    facts = [find_facts(source) for source in sources]
    return MeanTokens(
        fmean([fact.question_tokens for fact in facts], weights) + TEMPLATE_TOKENS,
        fmean([fact.answer_tokens for fact in facts], weights),
    )


def _problem_sources(params: Params) -> list[TrainingSource]:
    return [
        source
        for source in params.prepare.train
        if not (isinstance(source, RowsSource) and source.target == "conversations")
    ]


def _sample(params: Params, shape: Shape, gpu_gib: float) -> StageCost:
    sample, rungs = params.sample, len(params.prepare.rungs)
    sources = _problem_sources(params)
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
    sources: Sequence[TrainingSource] = _problem_sources(params)
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
    source = params.weigh.arms[arm.control_of] if isinstance(arm, ControlArm) else arm
    if isinstance(source, AsftArm | PriftArm):
        peak += 2 * shape.parameters()  # the frozen base model
    checkpoints = formulas.checkpoint_bytes(
        shape,
        settings.tuning,
        settings.launch,
        steps=settings.steps,
        save_every=settings.save_every,
    )
    gpus = 1 if settings.launch is None else settings.launch.processes
    return StageCost(stage, name, tokens, gpus, peak / GIB, 2 * shape.parameters(), checkpoints)


def _grpo(params: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    settings, tuning = params.grpo, params.grpo.models[name].tuning
    weights = 2 * shape.parameters()
    prompt = mean_tokens(_problem_sources(params), len(params.prepare.rungs)).prompt
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
    backward += activations + formulas.head_bytes(shape, micro_batch * settings.max_tokens)
    peak = max(backward, step) + parent + settings.gpu_memory_share * gpu_gib * GIB
    checkpoints = formulas.checkpoint_bytes(
        shape, tuning, None, steps=settings.steps, save_every=settings.save_every
    )
    # At most, as all groups of a round may have to be replaced each time.
    resamples = settings.steps // settings.iterations * settings.max_resamples
    tokens = (settings.steps + resamples) * answers * length
    gpus = 1 if settings.launch is None else settings.launch.processes
    return StageCost("grpo", name, tokens, gpus, peak / GIB, weights, checkpoints)


def _quantize(params: Params, shape: Shape, name: str) -> StageCost:
    settings, model = params.quantize, params.quantize.models[name]
    calibration = settings.calibration
    tokens = calibration.examples * calibration.max_length if isinstance(model, Gptq) else 0
    peak = formulas.quantizing_bytes(shape, model, tokens=tokens)
    disk = formulas.quantized_bytes(shape, model, settings.group_size)
    return StageCost("quantize", name, tokens, 1, peak / GIB, disk)


def _evaluate(params: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    workloads = []
    for benchmark, source in params.prepare.benchmarks.items():
        facts = find_facts(source)
        mean = MeanTokens(facts.question_tokens + TEMPLATE_TOKENS, facts.answer_tokens)
        answers = count_rows(source, len(params.prepare.rungs)) * len(params.evaluate.prompting)
        limit = params.evaluate.max_tokens[benchmark]
        workloads += [
            Workload(answers, mean, shots, limit) for shots in params.evaluate.models[name]
        ]
    weights, unpacked = 2.0 * shape.parameters(), 0.0
    model = params.quantize.models.get(name)
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
    tokens, cache = 0, 0.0
    for workload in workloads:
        prompt, answer = workload.mean
        context = prompt + workload.shots * (prompt + answer) + workload.max_tokens
        batch = formulas.engine_batch(shape, weights, context, memory=memory, limit=limit)
        batch = min(batch, max(workload.answers, 1))
        tokens += workload.answers * workload.max_tokens
        cache = max(cache, batch * context * shape.kv_bytes())
    return StageCost(
        *stage,
        tokens,
        engine.engines * engine.tensor_parallel,
        (weights + cache) / formulas.ENGINE_SHARE / GIB / engine.tensor_parallel,
        tokens * BYTES_PER_TOKEN,
        scratch_bytes,
    )
