"""What a composition would cost: a line for every model that is made, asked or quantized.

Nothing is run. Tokens, rows and sizes are those of ``stages.lib.provenance.catalog``, the
formulas those of ``stages.lib.costs.formulas``. Every answer is taken to reach its limit,
so what is generated is an upper bound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lib.core.schema import PROMPTINGS
from stages.lib.costs import formulas
from stages.lib.params.data import (
    BenchmarkSource,
    FileSource,
    LadderSource,
    RowsSource,
    TrainingSource,
)
from stages.lib.params.quantization import Gptq, QuantizedModel, Rtn
from stages.lib.params.root import Params
from stages.lib.params.strategies import ConversationsArm
from stages.lib.params.training import FullTuning
from stages.lib.provenance.catalog import Shape
from stages.lib.provenance.origins import facts_of

GIB = 2**30

# Of a prompt, what is not the question: 19 in the embedded model's template; assumed of all.
TEMPLATE_TOKENS = 20

# Of a token of an answer in its Parquet file: 0.7 and 1.4 in the default run.
BYTES_PER_TOKEN = 1.4


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage costs: tokens, GiB of each GPU, bytes kept and bytes in passing, GPU hours.

    ``clock`` are hours by the clock: those of one of its ``gpus``, which share the work evenly.
    """

    stage: str
    item: str
    tokens: float
    gpu_gib: float
    disk: float
    passing: float
    hours: float
    gpus: int
    clock: float


@dataclass(frozen=True, slots=True)
class MeanTokens:
    """Mean tokens of a prompt and of an answer."""

    prompt: float
    answer: float


def forecast(wanted: Params, shape: Shape, gpu_gib: float) -> list[StageCost]:
    """Return the lines of a composition, in the order of the stages."""
    copies = 2 if wanted.model.base.startswith("hub:") else 1  # the Hub's cache has one
    lines = [StageCost("model", "base", 0, 0, copies * 2 * shape.parameters(), 0, 0, 0, 0)]
    if wanted.sample.k:
        lines.append(_sample(wanted, shape, gpu_gib))
    lines += [_train(wanted, shape, arm) for arm in wanted.weigh.arms]
    lines += [_reinforce(wanted, shape, name, gpu_gib) for name in wanted.grpo.models]
    lines += [_quantize(wanted, shape, name, made) for name, made in wanted.quantize.models.items()]
    lines += [_evaluate(wanted, shape, name, gpu_gib) for name in wanted.evaluate.models]
    return lines


def total(lines: Sequence[StageCost]) -> StageCost:
    """Return sums, and of what is used one after the other the largest."""
    return StageCost(
        "all",
        "",
        sum(one.tokens for one in lines),
        max(one.gpu_gib for one in lines),
        sum(one.disk for one in lines),
        max(one.passing for one in lines),
        sum(one.hours for one in lines),
        max(one.gpus for one in lines),
        sum(one.clock for one in lines),
    )


def rows_of(source: TrainingSource | BenchmarkSource, rungs: int) -> int:
    """Return how many rows of a source are used; 0 where nothing is known of them."""
    if isinstance(source, LadderSource):
        return source.per_rung * rungs
    if isinstance(source, FileSource):
        with Path(source.path).open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    rows = facts_of(source).rows
    if isinstance(source, RowsSource):
        written = source.ladder
        return round((rows if written is None else written.per_rung * rungs) * source.fraction)
    return rows if source.size == "all" else source.size


def lesson(parts: Sequence[TrainingSource], rungs: int) -> MeanTokens:
    """Return the mean tokens of the rows of some parts of the training data."""
    # A part of unknown rows counts as one row.
    weights = [max(rows_of(part, rungs), 1) for part in parts]
    facts = [facts_of(part) for part in parts]

    def mean(values: Iterator[float]) -> float:
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    return MeanTokens(
        mean(one.question_tokens for one in facts) + TEMPLATE_TOKENS,
        mean(one.answer_tokens for one in facts),
    )


def _problems(wanted: Params) -> list[TrainingSource]:
    return [
        part
        for part in wanted.prepare.train
        if not (isinstance(part, RowsSource) and part.target == "conversations")
    ]


def _sample(wanted: Params, shape: Shape, gpu_gib: float) -> StageCost:
    sample, rungs = wanted.sample, len(wanted.prepare.rungs)
    parts = _problems(wanted)
    most = sample.sequential.most if sample.sequential else sample.k
    times = most + sample.k * (len(sample.prompting) - 1)
    count = times * sum(rows_of(part, rungs) for part in parts)
    one = lesson(parts, rungs)
    ask = [(count, one, sample.shots, sample.max_tokens)]
    return _generate(wanted, shape, "sample", "base", ask, 2 * shape.parameters(), gpu_gib)


def _train(wanted: Params, shape: Shape, arm: str) -> StageCost:
    settings, rungs = wanted.train.for_arm(arm), len(wanted.prepare.rungs)
    made = wanted.weigh.arms[arm]
    parts: list[TrainingSource] = _problems(wanted)
    if isinstance(made, ConversationsArm):
        rows = [part for part in wanted.prepare.train if isinstance(part, RowsSource)]
        parts = [part for part in rows if part.name in made.sources]
    one = lesson(parts, rungs)
    supervised = settings.steps * settings.tokens_per_step
    tokens = supervised * (one.prompt + one.answer) / one.answer
    rows = settings.steps * settings.micro_batches
    peak = formulas.training_bytes(
        shape,
        settings,
        tokens=round(tokens / rows),
        supervised=round(supervised / rows),
    )
    saved = formulas.checkpoint_bytes(
        shape, settings.tuning, steps=settings.steps, save_every=settings.save_every
    )
    hours = formulas.training_hours(
        shape,
        settings.tuning,
        tokens=tokens,
        row=tokens / rows,
        supervised=supervised,
        again=settings.gradient_checkpointing,
    )
    gpus, disk = settings.processes(), 2 * shape.parameters()
    return StageCost("train", arm, tokens, peak / GIB, disk, saved, hours, gpus, hours / gpus)


def _reinforce(wanted: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    settings, tuning = wanted.grpo, wanted.grpo.models[name].tuning
    weights = 2 * shape.parameters()
    answers = settings.prompts_per_step * settings.generations
    asked = lesson(_problems(wanted), len(wanted.prepare.rungs)).prompt
    length, together = round(asked + settings.max_tokens), answers // settings.micro_batches
    supervised = together * settings.max_tokens
    # Beside the state: the parent's weights, and vLLM's share of the GPU.
    parent = weights if isinstance(tuning, FullTuning) else 0
    learning, step = formulas.state_bytes(shape, tuning, None)
    kept = formulas.activation_bytes(shape, tuning, together * length, longest=length)
    peak = max(learning + kept + formulas.head_bytes(shape, supervised), step) + parent
    tokens = settings.steps * answers * length
    spoken = settings.steps * answers * settings.max_tokens
    learned = formulas.training_hours(shape, tuning, tokens=tokens, row=length, supervised=spoken)
    compared = formulas.forward_flops(shape, tokens, context=length, read=spoken)
    rounds = settings.steps // settings.iterations
    generated = formulas.generation_hours(
        shape,
        weights,
        prompts=rounds * answers * asked,
        answers=rounds * answers * settings.max_tokens,
        context=length,
        batch=answers,
    )
    saved = formulas.checkpoint_bytes(
        shape, tuning, steps=settings.steps, save_every=settings.save_every
    )
    hours = learned + generated + compared / (formulas.FLOPS * formulas.COMPUTE_SHARE) / 3600
    engine = settings.gpu_memory_share * gpu_gib
    return StageCost("grpo", name, tokens, peak / GIB + engine, weights, saved, hours, 1, hours)


def _quantize(wanted: Params, shape: Shape, name: str, made: QuantizedModel) -> StageCost:
    settings = wanted.quantize
    calibrated = isinstance(made, Gptq)
    tokens = settings.calibration.examples * settings.calibration.max_length * calibrated
    peak = formulas.quantizing_bytes(shape, made, tokens=tokens)
    disk = formulas.quantized_bytes(shape, made, settings.group_size)
    hours = formulas.GPTQ_HOURS_PER_PARAMETER * shape.parameters() * calibrated
    return StageCost("quantize", name, tokens, peak / GIB, disk, 0, hours, 1, hours)


def _evaluate(wanted: Params, shape: Shape, name: str, gpu_gib: float) -> StageCost:
    rungs = len(wanted.prepare.rungs)
    ask = []
    for benchmark, source in wanted.prepare.benchmarks.items():
        facts, limit = facts_of(source), wanted.evaluate.max_tokens[benchmark]
        one = MeanTokens(facts.question_tokens + TEMPLATE_TOKENS, facts.answer_tokens)
        count = rows_of(source, rungs) * len(PROMPTINGS)
        ask += [(count, one, shots, limit) for shots in wanted.evaluate.models[name]]
    weights, unpacked = 2.0 * shape.parameters(), 0.0
    made = wanted.quantize.models.get(name)
    if made is not None:
        if isinstance(made, Gptq | Rtn) and made.bits in (4, 8) and wanted.quantize.symmetric:
            weights = formulas.quantized_bytes(shape, made, wanted.quantize.group_size)
        else:
            unpacked = weights
    return _generate(wanted, shape, "evaluate", name, ask, weights, gpu_gib, unpacked)


def _generate(
    wanted: Params,
    shape: Shape,
    stage: str,
    item: str,
    ask: Sequence[tuple[int, MeanTokens, int, int]],
    weights: float,
    gpu_gib: float,
    passing: float = 0.0,
) -> StageCost:
    """Return the line of answering: how many prompts of a lesson, with which shots and limit.

    A beginning that prompts share, such as the examples, is computed once, and not counted;
    nor is what the GPUs of tensor parallelism tell each other.
    """
    ranks = wanted.engine.tensor_parallel
    gpus = wanted.engine.engines * ranks
    most = min(wanted.engine.max_num_seqs, wanted.engine.batch_size)
    tokens, hours, used = 0.0, 0.0, 0.0
    for count, one, shots, limit in ask:
        context = one.prompt + shots * (one.prompt + one.answer) + limit
        memory = ranks * gpu_gib * GIB
        batch = formulas.engine_batch(shape, weights, context, memory=memory, most=most)
        batch = min(batch, max(count, 1))
        tokens += count * limit
        used = max(used, batch * context * shape.kv_bytes())
        hours += formulas.generation_hours(
            shape,
            weights,
            prompts=count * one.prompt,
            answers=count * limit,
            context=context,
            batch=batch,
        )
    needed = (weights + used) / formulas.ENGINE_SHARE / GIB / ranks
    disk, clock = tokens * BYTES_PER_TOKEN, hours / gpus
    return StageCost(stage, item, tokens, needed, disk, passing, hours, gpus, clock)
