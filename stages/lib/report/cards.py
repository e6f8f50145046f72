"""Model cards: what a model is and how well it does, in the form of the Hugging Face Hub.

Every number comes from the parameters or from a measurement of a stage. Accuracies are shares
in the front matter and percent in the text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from stages.lib.analysis.answer_modes import ANSWER_MODES, SINGLE_ANSWER_MODES
from stages.lib.analysis.seeds import pairs_with_runs
from stages.lib.core.schema import system_name
from stages.lib.core.settings import overlay
from stages.lib.params.data import RowsSource
from stages.lib.params.model_source import parse_source
from stages.lib.params.quantization import quantized_models
from stages.lib.params.root import Params
from stages.lib.params.strategies import ConversationsArm
from stages.lib.provenance.hub import parse_hub_path
from stages.lib.provenance.license import UNKNOWN
from stages.lib.provenance.origins import from_elsewhere, source_of
from stages.lib.report.claims import TableRow, winner
from stages.lib.report.descriptions import quantization, strategy, training_source, uses_difficulty
from stages.lib.report.numbers import fixed, p_value, percent
from stages.lib.report.templates import render_template

TEMPLATE = "card.md.j2"
READINGS = {"first": "better", "second": "worse", "neither": "not shown to differ"}


@dataclass(frozen=True)
class CardInputs:
    """What cards are written from: tables of the analysis, and reports by model and by arm.

    ``models`` has the perplexity by model, ``reports`` weights and fingerprint, ``training``
    the counts of ``reports/training/<name>.json`` by arm and GRPO model, ``arm_metrics``
    those of ``reports/metrics/arms/``, ``dropped`` the training rows dropped by benchmark.
    """

    accuracy: Sequence[TableRow]
    comparisons: Sequence[TableRow]
    statuses: Sequence[TableRow]
    models: Mapping[str, TableRow]
    reports: Mapping[str, Mapping[str, Any]]
    training: Mapping[str, Mapping[str, Any]]
    arm_metrics: Mapping[str, Mapping[str, int]]
    dropped: Mapping[str, int]


def render(
    model: str,
    params: Params,
    measured: CardInputs,
    *,
    license: str,
    versions: Sequence[tuple[str, str]],
) -> str:
    """Return the card of a model, front matter included."""
    systems = {system_name(model, shots): shots for shots in params.evaluate.models[model]}
    accuracy = _by_benchmark(measured.accuracy, params)
    accuracy = [row for row in accuracy if row["system"] in systems]
    # A card describes SFT, then GRPO, then quantization, if they were used. The arm is "base"
    # for a base model trained by GRPO alone.
    quantized = quantized_models(params.quantize).get(model)
    trained = quantized.parent if quantized else model
    grpo_model = params.grpo.models.get(trained)
    arm = grpo_model.parent if grpo_model else trained
    values = {
        "front_matter": _front_matter(model, params, accuracy, license).to_yaml(),
        "params": params,
        "license": license,
        "unknown": UNKNOWN,
        "versions": versions,
        "fixed": fixed,
        "percent": percent,
        "p_value": p_value,
        "answer_modes": ANSWER_MODES,
        "model": model,
        "source": source_of(params, model),
        "adapted": params.model.adapted.get(trained),
        "trained": trained,
        "arm": arm,
        "grpo_model": grpo_model,
        "grpo_report": measured.training.get(trained),
        "quantized": quantized,
        "quantization": quantization(params, model) if quantized else None,
        "report": measured.reports[model],
        **_training(arm, params, measured),
        **_data(arm, params, measured),
        **_results(model, systems, accuracy, params, measured),
    }
    return ModelCard(render_template(TEMPLATE, values, escape=False)).content


def _training(arm: str, params: Params, measured: CardInputs) -> dict[str, Any]:
    """Return the template's values about supervised training."""
    arms, replays = params.weigh.arms, params.weigh.replays
    own = arms.get(replays[arm].arm if arm in replays else arm)
    train = params.train if own is None else overlay(params.train, own.train)
    return {
        "tuned": own is not None,
        "train": train,
        "adapters": None if train.tuning.method == "full" else train.tuning,
        "strategy": None if own is None else strategy(params.weigh, arm),
        "tuning_report": measured.training.get(arm),
    }


def _data(arm: str, params: Params, measured: CardInputs) -> dict[str, Any]:
    """Return the template's values about training data."""
    arms = params.weigh.arms
    has_conversations = any(isinstance(value, ConversationsArm) for value in arms.values())
    return {
        "arm_metrics": measured.arm_metrics.get(arm),
        "training_source": training_source(params, arms.get(arm)),
        "problem_source": training_source(params, None),
        "on_conversations": isinstance(arms.get(arm), ConversationsArm),
        "n_arms": len(arms),
        "by_difficulty": uses_difficulty(params) and not has_conversations,
        "dropped": sum(measured.dropped.values()),
        "promptings": " and ".join(ANSWER_MODES[name] for name in params.weigh.prompting),
    }


def _results(
    model: str,
    systems: Mapping[str, int],
    accuracy: Sequence[TableRow],
    params: Params,
    measured: CardInputs,
) -> dict[str, Any]:
    """Return the template's values about results; ``systems`` have the numbers of examples."""
    level = params.analyze.interval
    comparisons = _from_the_side_of(systems, _by_benchmark(measured.comparisons, params))
    return {
        "level": f"{level:.0%}",
        "systems": systems,
        "accuracy": accuracy,
        "comparisons": [(row, READINGS[winner(row, level)]) for row in comparisons],
        "perplexity": measured.models[model],
        "runs": _runs(systems, params),
        "n_cut": sum(int(row["cut"]) for row in measured.statuses if row["system"] in systems),
    }


def _runs(systems: Mapping[str, int], params: Params) -> dict[str, list[str]]:
    """Return the arms that the systems are runs of, with all runs, if the paper compares them."""
    compared = {name for pair in pairs_with_runs(params.analyze) for name in pair}
    return {
        name: runs
        for name, runs in params.analyze.runs.items()
        if name in compared and not set(systems).isdisjoint(runs)
    }


def _front_matter(
    model: str, params: Params, accuracy: Sequence[TableRow], license: str
) -> ModelCardData:
    quantized = quantized_models(params.quantize).get(model)
    tags = ["mathematics", "uphill"]
    if quantized:
        tags += [quantized.method, f"{quantized.bits}-bit"]
    return ModelCardData(
        license=license,
        language="en",
        base_model=_parent_on_hub(model, params),
        base_model_relation="quantized" if quantized else "finetune",
        datasets=_datasets_on_hub(params) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=tags,
        model_name=model,
        eval_results=[
            _eval_result(row, params.analyze.interval)
            for row in accuracy
            if row["answer_mode"] in SINGLE_ANSWER_MODES
        ],
    )


def _parent_on_hub(model: str, params: Params) -> str | None:
    """Return the repository of what a model was made from, None if it is not on the Hub."""
    quantized = quantized_models(params.quantize).get(model)
    if quantized and params.hub.push and quantized.parent not in from_elsewhere(params):
        return f"{params.hub.push.repo}-{quantized.parent}"
    source = parse_source(source_of(params, model))
    return source.location if source.kind == "hub" else None


def _datasets_on_hub(params: Params) -> list[str]:
    """Return the repositories of training data on the Hub."""
    rows = [source for source in params.prepare.train if isinstance(source, RowsSource)]
    paths = [source.path for source in rows if source.path.startswith("hub:")]
    return sorted({parse_hub_path(path).repository for path in paths})


def _eval_result(row: TableRow, level: float) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=row["benchmark"],
        dataset_name=row["benchmark"],
        metric_type="accuracy",
        metric_name=f"accuracy of {row['system']}, {ANSWER_MODES[row['answer_mode']]}",
        metric_value=row["accuracy"],
        metric_args={
            "problems": int(row["n"]),
            "interval": [row["low"], row["high"]],
            "level": level,
        },
    )


def _by_benchmark(rows: Sequence[TableRow], params: Params) -> list[TableRow]:
    order = list(params.prepare.benchmarks)
    return sorted(rows, key=lambda row: order.index(row["benchmark"]))


def _from_the_side_of(systems: Mapping[str, int], rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the comparisons with one of the systems, reversed where it is the second."""
    result: list[TableRow] = []
    for row in rows:
        if row["first"] in systems:
            result.append(row)
        elif row["second"] in systems:
            pair = {"first": row["second"], "second": row["first"]}
            numbers = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
            result.append({**row, **pair, **numbers})
    return result
