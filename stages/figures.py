"""Draw the figures of the paper.

Reads the problems and their difficulty, the tables of ``reports/tables/``, the training
logs and the measured speeds; writes each figure of ``reports/figures/`` as SVG, for the
paper, and PNG. Accuracies by topic and by source are of the held-out benchmark
(``evaluate.held_out``) with CoT (``programs``: with PoT). Without samples there is no figure
``difficulty``, without a quantized model no ``topics`` and ``width``, without a GRPO one
no ``grpo``, without an evaluated tuned model no ``sources`` and no ``programs``.

    python -m stages.figures
"""

from matplotlib.figure import Figure

from stages.lib.core.files import atomic_replace
from stages.lib.core.paths import DIFFICULTY, EVAL_PROBLEMS, FIGURES, TABLES, TRAIN_PROBLEMS
from stages.lib.core.schema import Difficulty, Problem
from stages.lib.figures import paper, quantization, style
from stages.lib.figures.read import (
    SHARES,
    accuracies,
    by_gptq,
    by_level,
    logs,
    read_rows,
    read_table,
    table_of,
)
from stages.lib.params.evaluation import Evaluate, Figures, system_name
from stages.lib.params.grpo import Grpo
from stages.lib.params.load import load_params
from stages.lib.params.quantization import Quantize
from stages.lib.params.sampling import Sample
from stages.lib.params.strategies import Weigh
from stages.lib.runtime import console


def main() -> None:
    """Draw every figure; the folder is replaced whole."""
    wanted = load_params()
    look = wanted.figures
    figures = draw(wanted.sample, wanted.evaluate, wanted.weigh, wanted.grpo, wanted.quantize, look)
    with atomic_replace(FIGURES) as aside:
        aside.mkdir()
        for name, figure in figures.items():
            style.save(figure, aside / name, dpi=look.dpi)


def draw(
    sample: Sample,
    evaluated: Evaluate,
    weigh: Weigh,
    grpo: Grpo,
    quantize: Quantize,
    look: Figures,
) -> dict[str, Figure]:
    """Return the figures by name."""
    shown = {model: evaluated.shown(model) for model in evaluated.models}
    arms, grpo_models = list(weigh.arms), list(grpo.models)
    tuned = arms + grpo_models
    colors = style.palette(look.palette, tuned)
    colors |= {shown[name]: colors[name] for name in tuned if name in shown}
    inches = look.width_in

    benchmark = evaluated.held_out
    held_out = by_level(read_rows(EVAL_PROBLEMS / f"{benchmark}.parquet", Problem))
    first = next(iter(evaluated.models))
    figures = {
        "training": paper.training(logs(arms, ["loss", "learning_rate"], "arm"), colors, inches),
        "accuracy": paper.accuracy(
            read_table(TABLES / "accuracy.csv", ["benchmark", *SHARES]),
            list(evaluated.max_tokens),
            evaluated.systems(),
            style.palette(look.palette, list(style.DECODINGS)),
            inches,
        ),
    }
    if sample.k:
        figures["difficulty"] = paper.difficulty(
            table_of(read_rows(DIFFICULTY, Difficulty), paper.DIFFICULTY),
            by_level(read_rows(TRAIN_PROBLEMS, Problem)),
            inches,
        )
    of_tuned = [shown[name] for name in tuned if name in shown]
    if of_tuned:
        reference = system_name(first, max(evaluated.models[first]))
        for name, answer_mode in (("sources", "cot"), ("programs", "pot")):
            by_source = accuracies("accuracy_by_source", "source", benchmark, answer_mode)
            figures[name] = paper.sources(by_source, held_out, reference, of_tuned, colors, inches)
    if grpo_models:
        figures["grpo"] = paper.grpo(
            logs(grpo_models, list(paper.GRPO), "model"),
            {name: colors[name] for name in grpo_models},
            inches,
        )
    if quantize.families(list(evaluated.models)):
        table = read_table(TABLES / "quantization.csv", quantization.COLUMNS)
        of_systems = [[shown[model] for model in family] for family in by_gptq(table)]
        if of_systems:
            by_topic = accuracies("accuracy_by_topic", "topic", benchmark, "cot")
            figures["topics"] = paper.topics(by_topic, of_systems, colors, inches)
        figures["width"] = quantization.draw(table, colors, evaluated.speed.prompts, inches)
    return figures


if __name__ == "__main__":
    console.run_stage("figures", main, timed=False)
