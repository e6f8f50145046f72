"""Score published generations again: by their published verdicts, and by this grader.

Reads a folder of ``<model>/results/<benchmark>-{cot,pot}.json`` in the layout of the SDAT
authors (``tools.replicate.results``). Writes into ``--out``, as percent or shares:

- ``table.csv``: a row per model, from the published verdicts,
- ``regraded.csv``: the same from this sandbox and grader, on the published texts alone,
- ``agreement.json`` and ``disagreements.jsonl``: where the two differ, and why,
- ``significance.csv``: every model against the baseline, by both verdicts,
- ``figures/``: the score by w and by answer mode,
- ``summary.json``: what was read and what was skipped.

Settings of the sandbox, the statistics and the figures are those of ``params.yaml``. Exit
status 3 says that something was skipped.

    python -m tools.replicate RESULTS --out DIR
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.lib.analysis import accuracy
from stages.lib.core.files import atomic_replace, write_json, write_text
from stages.lib.figures import style
from stages.lib.params.evaluation import Analyze, Figures
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.replicate import charts, regrade
from tools.replicate.results import PublishedModel, read_results

INCOMPLETE = 3


def main(results: str, out: str) -> None:
    """Replicate a folder of results."""
    params, folder = load_params(), Path(out)
    skipped: list[str] = []
    cases = read_results(Path(results), skipped.append)
    for line in skipped:
        console.log_line(f"skipped: {line}")
    if not cases:
        raise ValueError(f"{results}: nothing in it could be read")
    published = regrade.published_records(cases)
    regraded = regrade.regraded_records(cases, params.sandbox)

    models = list({case.model: None for case in cases})
    # The names of the two kinds of verdicts are values of the column ``verdicts``.
    frames = {
        "stored": regrade.grade_frame(cases, published),
        "own": regrade.grade_frame(cases, regraded),
    }
    scores = {
        name: accuracy.accuracy_table(frame, ["benchmark", "system"], level=params.analyze.interval)
        for name, frame in frames.items()
    }
    _write(folder / "table.csv", regrade.score_table(scores["stored"], models))
    _write(folder / "regraded.csv", regrade.score_table(scores["own"], models))
    write_significance(folder, frames, models, params.analyze)
    means = regrade.domain_table(scores["stored"], level=params.analyze.interval)
    write_figures(folder, means, models, params.figures)
    rates, disagreements = regrade.agreement(cases, published, regraded)
    write_json(folder / "agreement.json", rates)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in disagreements]
    write_text(folder / "disagreements.jsonl", "".join(lines))
    n_models, n_benchmarks = len(models), len({case.benchmark for case in cases})
    counts = {"models": n_models, "benchmarks": n_benchmarks, "generations": len(cases)}
    write_json(folder / "summary.json", counts | {"skipped": skipped})
    read = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.log_line(f"{read} read; {len(skipped)} skipped")
    if skipped:
        sys.exit(INCOMPLETE)


def write_significance(
    folder: Path,
    frames: Mapping[str, pd.DataFrame],
    models: Sequence[PublishedModel],
    analyze: Analyze,
) -> None:
    """Write the comparisons with the baseline, if there is exactly one and another model."""
    baselines = [model.name for model in models if model.b is None]
    if len(baselines) != 1:
        console.log_line(f"significance.csv: {len(baselines)} models without b and w: expected one")
        return
    # One generator for both verdicts, in this order: the intervals depend on it.
    rng = np.random.default_rng(analyze.seed)
    tables = []
    for name, frame in frames.items():
        table = regrade.significance_table(
            frame, baselines[0], draws=analyze.draws, level=analyze.interval, rng=rng
        )
        tables.append(table.assign(verdicts=name))
    _write(folder / "significance.csv", pd.concat(tables, ignore_index=True))


def write_figures(
    folder: Path, means: pd.DataFrame, models: Sequence[PublishedModel], figures: Figures
) -> None:
    """Draw the mean scores by w and by answer mode."""
    with atomic_replace(folder / "figures") as tmp:
        tmp.mkdir()
        for draw in (charts.score_by_weight, charts.score_by_answer_mode):
            figure = draw(means, models, figures.palette, figures.width_in)
            style.save(figure, tmp / draw.__name__, dpi=figures.dpi)


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_replace(path) as tmp:
        table.to_csv(tmp, index=False, lineterminator="\n")


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("results", help="the folder of published results")
    parser.add_argument("--out", required=True, metavar="DIR", help="where to write")


if __name__ == "__main__":
    console.run_stage("replicate", main, add_arguments=_arguments, timed=False)
