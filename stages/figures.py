"""Draw the figures of the paper.

Reads the problems and their difficulty, the tables of ``reports/tables/``, the training
logs and the measured speeds. Writes each figure of ``reports/figures/`` as SVG, for the
paper, and PNG. Accuracies by topic and by source are of the held-out benchmark
(``evaluate.held_out``), by source with CoT (``programs``: with PoT), by topic with the first of
``evaluate.prompting``. Difficulty is that with CoT, where it was sampled. Figures without data
are left out: ``difficulty`` where none is known, ``topics``, ``width`` and ``retention`` without a
quantized model, ``grpo`` without a GRPO model, ``allocation`` without an online arm, ``sources``
and ``programs`` without an evaluated tuned model, ``sampled`` without ``evaluate.sampling``.

    python -m stages.figures
"""

from matplotlib.figure import Figure

from stages.lib.analysis.answer_modes import single_modes_among
from stages.lib.analysis.models import families, has_difficulty, online_runs
from stages.lib.analysis.systems import default_system, evaluated_systems
from stages.lib.analysis.tables import read_frame, select_columns
from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import (
    DIFFICULTY,
    EVAL_PROBLEMS,
    FIGURES,
    TABLES,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Difficulty, Problem, difficulty_by_problem, system_name
from stages.lib.figures import allocation, paper, quantization, sampled, style
from stages.lib.figures.read import (
    ACCURACY_COLUMNS,
    gptq_families,
    read_accuracies,
    read_logs,
    read_non_empty,
    sources_by_level,
)
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.runtime import console

SOURCE_FIGURES = {"cot": "sources", "pot": "programs"}


def main() -> None:
    """Draw every figure; the folder is replaced whole."""
    params = load_params()
    figures = draw(params)
    with atomic_replace(FIGURES) as tmp:
        tmp.mkdir()
        for name, figure in figures.items():
            style.save(figure, tmp / name, dpi=params.figures.dpi)


def draw(params: Params) -> dict[str, Figure]:
    """Return the figures by name."""
    width_in = params.figures.width_in
    system_of = {model: default_system(params.evaluate, model) for model in params.evaluate.models}
    arms, grpo_models = [*params.weigh.arms, *params.weigh.replays], list(params.grpo.models)
    # An arm has one color, be it named as a model or as a system.
    colors = style.palette(params.figures.palette, arms + grpo_models)
    colors |= {system_of[name]: color for name, color in colors.items() if name in system_of}
    figures = {
        "training": paper.training(
            read_logs(arms, ["loss", "learning_rate"], "arm"), colors, width_in
        ),
        "accuracy": draw_accuracy(params),
    }
    if has_difficulty(params.sample, params.score):
        difficulties = difficulty_by_problem(read_non_empty(DIFFICULTY, Difficulty), "cot")
        figures["difficulty"] = paper.difficulty(
            select_columns(list(difficulties.values()), paper.DIFFICULTY_COLUMNS),
            sources_by_level(read_non_empty(TRAIN_PROBLEMS, Problem)),
            width_in,
        )
    if online := online_runs(params.weigh):
        tables = {
            name: read_frame(TRAINING_LOGS / name / "allocation.csv", allocation.COLUMNS)
            for name in online
        }
        order = sources_by_level(read_non_empty(TRAIN_PROBLEMS, Problem))
        figures["allocation"] = allocation.allocation(tables, order, width_in)
        # Replays follow nothing: they have no signal.
        seen = {name: tables[name] for name in params.weigh.arms if name in tables}
        figures["learning"] = allocation.learning(seen, order, width_in)
    if grpo_models:
        metrics = [name for name in paper.GRPO_LABELS if name != "kl" or params.grpo.beta]
        figures["grpo"] = paper.grpo(
            read_logs(grpo_models, metrics, "model"),
            {name: colors[name] for name in grpo_models},
            width_in,
        )
    tuned = [system_of[name] for name in arms + grpo_models if name in system_of]
    if tuned:
        figures |= draw_sources(params, tuned, colors)
    if params.evaluate.sampling is not None:
        figures["sampled"] = draw_sampled(params, colors)
    if families(params.quantize, list(params.evaluate.models)):
        figures |= draw_quantization(params, system_of, colors)
    return figures


def draw_accuracy(params: Params) -> Figure:
    """Return the figure of every system on every benchmark."""
    table = read_frame(TABLES / "accuracy.csv", ["benchmark", *ACCURACY_COLUMNS])
    return paper.accuracy(
        table,
        list(params.evaluate.max_tokens),
        evaluated_systems(params.evaluate),
        style.palette(params.figures.palette, single_modes_among(set(table["answer_mode"]))),
        params.figures.width_in,
    )


def draw_sources(params: Params, tuned: list[str], colors: style.Colors) -> dict[str, Figure]:
    """Return the figures of tuned systems by source, beside the first model evaluated."""
    benchmark, width_in = params.evaluate.held_out, params.figures.width_in
    order = sources_by_level(read_non_empty(EVAL_PROBLEMS / f"{benchmark}.parquet", Problem))
    model, shots = next(iter(params.evaluate.models.items()))
    reference = system_name(model, max(shots))
    figures = {}
    for prompting in params.evaluate.prompting:
        table = read_accuracies("accuracy_by_source", "source", benchmark, prompting)
        figures[SOURCE_FIGURES[prompting]] = paper.sources(
            table, order, reference, tuned, colors, width_in
        )
    return figures


def draw_sampled(params: Params, colors: style.Colors) -> Figure:
    """Return the figure of sampled answers to the held-out benchmark."""
    table = read_frame(TABLES / "sampled.csv", ["benchmark", *sampled.COLUMNS])
    table = table.loc[table["benchmark"] == params.evaluate.held_out]
    systems = evaluated_systems(params.evaluate)
    # Arms keep their colors, and other systems get the next ones.
    names = list(dict.fromkeys([*colors, *systems]))
    shown = style.palette(params.figures.palette, names) | dict(colors)
    return sampled.sampled(table, {name: shown[name] for name in systems}, params.figures.width_in)


def draw_quantization(
    params: Params, system_of: dict[str, str], colors: style.Colors
) -> dict[str, Figure]:
    """Return the figures of quantized models."""
    benchmark, width_in = params.evaluate.held_out, params.figures.width_in
    table = read_frame(TABLES / "quantization.csv", quantization.COLUMNS)
    figures = {"width": quantization.draw(table, colors, params.evaluate.speed.prompts, width_in)}
    kept = read_frame(TABLES / "retention.csv", quantization.RETENTION_COLUMNS)
    kept = kept.loc[kept["benchmark"] == benchmark]
    figures["retention"] = quantization.draw_retention(kept, colors, width_in)
    system_families = [[system_of[model] for model in family] for family in gptq_families(table)]
    if system_families:
        prompting = params.evaluate.prompting[0]
        by_topic = read_accuracies("accuracy_by_topic", "topic", benchmark, prompting)
        figures["topics"] = paper.topics(by_topic, system_families, colors, width_in)
    return figures


if __name__ == "__main__":
    console.run_stage("figures", main, timed=False)
