"""Model cards: what a model is and how well it does, in the form of the Hugging Face Hub.

Every number comes from the parameters or from what a stage measured. Accuracies are shares
in the front matter and percent in the text.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.lib.params.base_model import parse_base
from stages.lib.params.evaluation import system_name
from stages.lib.params.root import Params
from stages.lib.params.strategies import ConversationsArm
from stages.lib.provenance.license import UNKNOWN
from stages.lib.report.claims import ANSWER_MODE_NAMES, TableRow, interval_only_note, winner
from stages.lib.report.descriptions import quantization, strategy, training_source, uses_difficulty
from stages.lib.report.numbers import fixed, p_value, percent

TEMPLATE = "card.md.j2"
# Decodings that give an answer each; the others count problems by two of them.
ANSWERS = ("cot", "pot", "fallback")
READINGS = {"first": "ahead", "second": "behind", "noise": "within noise", "same": "the same"}


@dataclass(frozen=True)
class Measured:
    """What stages measured: tables of the analysis, and reports by model and by arm.

    ``models`` have the perplexity by model, ``reports`` weights and fingerprint, ``training``
    the counts of ``reports/training/<name>.json`` by arm and GRPO model, ``taught``
    those of ``reports/metrics/arms/``.
    """

    accuracy: Sequence[TableRow]
    comparisons: Sequence[TableRow]
    statuses: Sequence[TableRow]
    models: Mapping[str, TableRow]
    reports: Mapping[str, Mapping[str, Any]]
    training: Mapping[str, Mapping[str, Any]]
    taught: Mapping[str, Mapping[str, int]]
    dropped: Mapping[str, int]


def models_with_cards(wanted: Params) -> list[str]:
    """Return the models that get a card: those evaluated that were trained or quantized."""
    return [name for name in wanted.evaluate.models if name != "base"]


def render(
    model: str,
    wanted: Params,
    measured: Measured,
    *,
    license: str,
    versions: Sequence[tuple[str, str]],
) -> str:
    """Return the card of a model, front matter included."""
    quantized = wanted.quantize.models.get(model)
    trained = quantized.parent if quantized else model
    grpo_model = wanted.grpo.models.get(trained)
    arm = grpo_model.parent if grpo_model else trained
    level = wanted.analyze.interval
    systems = {system_name(model, shots): shots for shots in wanted.evaluate.models[model]}
    accuracy = _by_benchmark(measured.accuracy, wanted)
    accuracy = [row for row in accuracy if row["system"] in systems]
    compared = _by_benchmark(measured.comparisons, wanted)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Of a base that was tuned by GRPO there is no training before.
    tuned = arm != "base"
    train = wanted.train.for_arm(arm)
    text = environment.get_template(TEMPLATE).render(
        front_matter=_front_matter(model, wanted, accuracy, license).to_yaml(),
        model=model,
        trained=trained,
        arm=arm,
        tuned=tuned,
        grpo_model=grpo_model,
        grpo=wanted.grpo,
        quantized=quantized,
        quantization=quantization(wanted, model) if quantized else None,
        wanted=wanted,
        train=train,
        adapters=None if train.tuning.method == "full" else train.tuning,
        strategy=strategy(wanted.weigh.arms, arm) if tuned else None,
        license=license,
        unknown=UNKNOWN,
        perplexity=measured.models[model],
        report=measured.reports[model],
        parameters=measured.training.get(arm),
        rounds=measured.training.get(trained),
        taught=measured.taught.get(arm),
        source=training_source(wanted, wanted.weigh.arms.get(arm)),
        asked=training_source(wanted, None),
        talks=isinstance(wanted.weigh.arms.get(arm), ConversationsArm),
        arms=len(wanted.weigh.arms),
        by_difficulty=uses_difficulty(wanted)
        and not any(isinstance(one, ConversationsArm) for one in wanted.weigh.arms.values()),
        several=_several(systems, wanted),
        dropped=sum(measured.dropped.values()),
        promptings=" and ".join(ANSWER_MODE_NAMES[name] for name in wanted.weigh.prompting),
        level=f"{level:.0%}",
        accuracy=[_accuracy_cells(row, systems[row["system"]]) for row in accuracy],
        comparisons=[_comparison_cells(row, level) for row in _seen_from(systems, compared)],
        cut=_cut(measured.statuses, systems),
        versions=versions,
        fixed=fixed,
    )
    return ModelCard(text).content


def _several(systems: Collection[str], wanted: Params) -> dict[str, list[str]]:
    """Return what the systems are runs of, with all its runs, where the paper compares them."""
    compared = {name for pair in wanted.analyze.pairs_of_runs() for name in pair}
    return {
        name: runs
        for name, runs in wanted.analyze.runs.items()
        if name in compared and set(systems) & set(runs)
    }


def _front_matter(
    model: str, wanted: Params, accuracy: Sequence[TableRow], license: str
) -> ModelCardData:
    base = parse_base(wanted.model.base)
    quantized = wanted.quantize.models.get(model)
    packed = [quantized.method, f"{quantized.bits}-bit"] if quantized else []
    tags = ["mathematics", "uphill", *packed]
    return ModelCardData(
        license=license,
        base_model=base.location if base.kind == "hub" else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=tags,
        model_name=model,
        eval_results=[
            _result(row, wanted.analyze.interval)
            for row in accuracy
            if row["answer_mode"] in ANSWERS
        ],
    )


def _result(row: TableRow, level: float) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=row["benchmark"],
        dataset_name=row["benchmark"],
        metric_type="accuracy",
        metric_name=f"accuracy of {row['system']}, {ANSWER_MODE_NAMES[row['answer_mode']]}",
        metric_value=row["accuracy"],
        metric_args={
            "problems": int(row["n"]),
            "interval": [row["low"], row["high"]],
            "level": level,
        },
    )


def _by_benchmark(rows: Sequence[TableRow], wanted: Params) -> list[TableRow]:
    order = list(wanted.prepare.benchmarks)
    return sorted(rows, key=lambda row: order.index(row["benchmark"]))


def _accuracy_cells(row: TableRow, shots: int) -> list[str]:
    return [
        row["benchmark"],
        str(shots),
        ANSWER_MODE_NAMES[row["answer_mode"]],
        str(row["n"]),
        percent(row["accuracy"]),
        f"{percent(row['low'])} to {percent(row['high'])}",
    ]


def _seen_from(systems: Collection[str], rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the comparisons in which one of the systems takes part, turned to have it first."""
    seen: list[TableRow] = []
    for row in rows:
        if row["first"] in systems:
            seen.append(row)
        elif row["second"] in systems:
            turned = {
                "first": row["second"],
                "second": row["first"],
                "difference": -row["difference"],
                "low": -row["high"],
                "high": -row["low"],
            }
            seen.append({**row, **turned})
    return seen


def _comparison_cells(row: TableRow, level: float) -> list[str]:
    return [
        row["benchmark"],
        row["second"],
        ANSWER_MODE_NAMES[row["answer_mode"]],
        percent(row["difference"]),
        f"{percent(row['low'])} to {percent(row['high'])}",
        p_value(row["p_holm"]),
        READINGS[winner(row)] + interval_only_note(row, level),
    ]


def _cut(rows: Sequence[TableRow], systems: Collection[str]) -> int:
    return sum(int(row["cut"]) for row in rows if row["system"] in systems)
