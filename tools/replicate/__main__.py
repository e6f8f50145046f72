"""Score published results again: by their stored verdicts, and by our own grading.

Reads a folder of ``<model>/results/<benchmark>-{cot,pot}.json`` in the layout of the SDAT
authors (``tools.replicate.results``). Writes into ``--out``, as percent or shares:

- ``table.csv``: a row per model, from the stored verdicts,
- ``regraded.csv``: the same from our sandbox and grader, on the stored texts alone,
- ``agreement.json`` and ``disagreements.jsonl``: where both differ, and why,
- ``significance.csv``: every model against the baseline, by both verdicts,
- ``figures/``: the score by w and by decoding,
- ``summary.json``: what was read and what was left out.

Sandbox, statistics and looks are those of ``params.yaml``. Exit status 3 says that
something was left out.

    python -m tools.replicate RESULTS --out DIR
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stages.lib.analysis import accuracy
from stages.lib.core.files import atomic_replace, write_json, write_text
from stages.lib.core.schema import EvalRecord
from stages.lib.figures import style
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.runtime import console
from tools.replicate import charts, regrade
from tools.replicate.results import Case, Model, read_results

INCOMPLETE = 3


def main(results: str, out: str) -> None:
    """Replicate a folder of results."""
    wanted = load_params()
    skipped: list[str] = []
    cases = read_results(Path(results), skipped.append)
    for line in skipped:
        console.log_line(f"skipped: {line}")
    if not cases:
        raise ValueError(f"{results}: nothing in it could be read")
    theirs = regrade.stored_verdicts(cases)
    ours = regrade.own_verdicts(cases, wanted.sandbox)

    folder = Path(out)
    models = list({case.model: None for case in cases})
    write_tables(folder, cases, models, {"stored": theirs, "own": ours}, wanted)
    rates, disagreements = regrade.agreement(cases, theirs, ours)
    write_json(folder / "agreement.json", rates)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in disagreements]
    write_text(folder / "disagreements.jsonl", "".join(lines))
    summary = {
        "models": len(models),
        "benchmarks": len({case.benchmark for case in cases}),
        "generations": len(cases),
        "skipped": skipped,
    }
    write_json(folder / "summary.json", summary)
    console.log_line(
        f"{summary['models']} models, {summary['benchmarks']} benchmarks, "
        f"{summary['generations']} generations read; {len(skipped)} skipped"
    )
    if skipped:
        sys.exit(INCOMPLETE)


def write_tables(
    folder: Path,
    cases: Sequence[Case],
    models: Sequence[Model],
    verdicts: dict[str, list[EvalRecord]],
    wanted: Params,
) -> None:
    """Write the score tables, the comparisons with the baseline and the figures."""
    settings, look = wanted.analyze, wanted.figures
    rng = np.random.default_rng(settings.seed)
    baselines = [model.name for model in models if model.b is None]
    frames = {name: regrade.answers_of(cases, graded) for name, graded in verdicts.items()}
    compared = []
    scores = {
        name: accuracy.accuracy_table(frame, ["benchmark", "system"], level=settings.interval)
        for name, frame in frames.items()
    }
    for name, file in (("stored", "table.csv"), ("own", "regraded.csv")):
        _write(folder / file, regrade.score_table(scores[name], models))
        if len(baselines) == 1:
            found = regrade.significance_table(
                frames[name],
                baselines[0],
                draws=settings.draws,
                level=settings.interval,
                rng=rng,
            )
            compared.append(found.assign(verdicts=name))
    if compared:
        _write(folder / "significance.csv", pd.concat(compared, ignore_index=True))
    else:
        console.log_line(f"significance.csv: {len(baselines)} models without b and w: expected one")
    means = regrade.domain_table(scores["stored"], level=settings.interval)
    with atomic_replace(folder / "figures") as aside:
        aside.mkdir()
        for name, draw in (
            ("score_by_weight", charts.score_by_weight),
            ("score_by_decoding", charts.score_by_decoding),
        ):
            figure = draw(means, models, look.palette, look.width_in)
            style.save(figure, aside / name, dpi=look.dpi)


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_replace(path) as aside:
        table.to_csv(aside, index=False, lineterminator="\n")


if __name__ == "__main__":
    console.run_stage("replicate", main, item="results", options=["out"], timed=False)
