"""Draw the figures of the paper.

Reads the problems and their difficulty, the tables of ``reports/tables/``, the training
logs and the measured speeds; writes each figure of ``reports/figures/`` as SVG, for the
paper, and PNG. Accuracies by topic and by source are of the held-out benchmark
(``evaluate.perplexity_on``) with CoT (``programs``: with PoT). Without samples there is no figure
``difficulty``, without a quantized model no ``topics`` and ``width``, without a reinforced one
no ``reinforcement``, without an evaluated tuned model no ``sources`` and no ``programs``.

    python -m stages.figures
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from stages.lib import charts, console, params, plotting, width_chart
from stages.lib.files import replacing
from stages.lib.params.arms import Weigh
from stages.lib.params.quantization import Quantize
from stages.lib.params.reinforcement import Reinforce
from stages.lib.params.results import Evaluate, Figures, system_name
from stages.lib.params.sampling import Sample
from stages.lib.paths import (
    DIFFICULTY,
    EVAL_PROBLEMS,
    FIGURES,
    TABLES,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.records import Difficulty, Problem, Row, read_parquet
from stages.lib.speeds import NO_KERNEL

SHARES = ["system", "decoding", "n", "accuracy", "low", "high"]


def main() -> None:
    """Draw every figure; the folder is replaced whole."""
    wanted = params.load()
    look = wanted.figures
    figures = draw(
        wanted.sample, wanted.evaluate, wanted.weigh, wanted.reinforce, wanted.quantize, look
    )
    with replacing(FIGURES) as aside:
        aside.mkdir()
        for name, figure in figures.items():
            plotting.save(figure, aside / name, dpi=look.dpi)


def draw(
    sample: Sample,
    evaluated: Evaluate,
    weigh: Weigh,
    reinforce: Reinforce,
    quantize: Quantize,
    look: Figures,
) -> dict[str, Figure]:
    """Return the figures by name."""
    shown = {model: evaluated.shown(model) for model in evaluated.models}
    arms, reinforced = list(weigh.arms), list(reinforce.models)
    tuned = arms + reinforced
    colors = plotting.palette(look.palette, tuned)
    colors |= {shown[name]: colors[name] for name in tuned if name in shown}
    inches = look.width_in

    benchmark = evaluated.perplexity_on
    held_out = by_level(read_rows(EVAL_PROBLEMS / f"{benchmark}.parquet", Problem))
    first = next(iter(evaluated.models))
    figures = {
        "training": charts.training(logs(arms, ["loss", "learning_rate"], "arm"), colors, inches),
        "accuracy": charts.accuracy(
            read_table(TABLES / "accuracy.csv", ["benchmark", *SHARES]),
            list(evaluated.max_tokens),
            evaluated.systems(),
            plotting.palette(look.palette, list(plotting.DECODINGS)),
            inches,
        ),
    }
    if sample.k:
        figures["difficulty"] = charts.difficulty(
            table_of(read_rows(DIFFICULTY, Difficulty), charts.DIFFICULTY),
            by_level(read_rows(TRAIN_PROBLEMS, Problem)),
            inches,
        )
    of_tuned = [shown[name] for name in tuned if name in shown]
    if of_tuned:
        reference = system_name(first, max(evaluated.models[first]))
        for name, decoding in (("sources", "cot"), ("programs", "pot")):
            by_source = accuracies("accuracy_by_source", "source", benchmark, decoding)
            figures[name] = charts.sources(by_source, held_out, reference, of_tuned, colors, inches)
    if reinforced:
        figures["reinforcement"] = charts.reinforcement(
            logs(reinforced, list(charts.REINFORCEMENT), "model"),
            {name: colors[name] for name in reinforced},
            inches,
        )
    if quantize.families(list(evaluated.models)):
        table = read_table(TABLES / "quantization.csv", width_chart.COLUMNS)
        of_systems = [[shown[model] for model in family] for family in by_gptq(table)]
        if of_systems:
            by_topic = accuracies("accuracy_by_topic", "topic", benchmark, "cot")
            figures["topics"] = charts.topics(by_topic, of_systems, colors, inches)
        figures["width"] = width_chart.draw(table, colors, evaluated.speed.prompts, inches)
    return figures


def by_gptq(table: pd.DataFrame) -> list[list[str]]:
    """Return each original of the table of quantized models, and its first GPTQ at each width."""
    made = table.loc[table["method"] == "gptq"].drop_duplicates(["parent", "bits"])
    return [
        [str(parent), *rows.sort_values("bits", ascending=False)["model"]]
        for parent, rows in made.groupby("parent", sort=False)
    ]


def by_level(problems: Sequence[Problem]) -> list[str]:
    """Return the sources of problems by mean level; those without levels go last."""
    levels: defaultdict[str, list[float]] = defaultdict(list)
    for problem in problems:
        levels[problem.source].append(inf if problem.level is None else problem.level)
    return sorted(levels, key=lambda source: fmean(levels[source]))


def table_of(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of rows; pandas itself would copy every row with all it holds."""
    return pd.DataFrame({name: [getattr(row, name) for row in rows] for name in columns})


def accuracies(table: str, column: str, benchmark: str, decoding: str) -> pd.DataFrame:
    """Return the rows of a table of accuracies for one benchmark and decoding."""
    path = TABLES / f"{table}.csv"
    rows = read_table(path, ["benchmark", column, *SHARES])
    rows = rows.loc[(rows["benchmark"] == benchmark) & (rows["decoding"] == decoding)]
    if rows.empty:
        raise ValueError(f"{path}: no rows of benchmark {benchmark!r} with decoding {decoding!r}")
    return rows


def logs(names: Sequence[str], measured: Sequence[str], column: str) -> pd.DataFrame:
    """Return what was measured by step of trained models; ``column`` holds their names.

    What was not measured in a step is missing there.
    """
    tables = []
    for name in names:
        folder = TRAINING_LOGS / name / "plots" / "metrics"
        of_each = [
            read_table(folder / f"{one}.tsv", ["step", one], separator="\t") for one in measured
        ]
        merged = reduce(lambda one, other: one.merge(other, on="step", how="outer"), of_each)
        tables.append(merged.assign(**{column: name}))
    return pd.concat(tables, ignore_index=True)


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """Read a Parquet table that has rows; errors name the file."""
    rows = read_parquet(path, row_type)
    if not rows:
        raise ValueError(f"{path}: no rows: expected at least one")
    return rows


def read_table(path: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """Read a table of text that has rows and the named columns; errors name the file."""
    try:
        table = pd.read_csv(path, sep=separator, na_values=[NO_KERNEL])
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path}: empty: expected a table") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r}: missing")
    if table.empty:
        raise ValueError(f"{path}: no rows: expected at least one")
    return table


if __name__ == "__main__":
    console.run("figures", main, timed=False)
