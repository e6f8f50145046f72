"""Run a registered study block by block, and analyze it.

Reads ``conf/study.yaml``. ``run`` runs the blocks that have no file yet, each as a DVC
experiment of the current commit, and leaves ``reports/study/blocks/SEED.json``: commit it, and
another machine goes on with the next. After the last block, ``report`` writes into
``reports/study/``:

- ``design.json``: how large it is, and the commit of its blocks,
- ``endpoints.csv``: the registered comparisons, with their intervals and verdicts,
- ``arms.csv``: the accuracy of each arm, by stratum and run, with an interval over runs and
  problems; of the untrained model too, if ``base.json`` has its answers,
- ``cells.csv``: the mean accuracy of each arm in each cell,
- ``compute.csv``: the median tokens and seconds of each arm's trainings,
- ``forest.svg`` and ``forest.png``: the comparisons, with the difference in every run.

Before the last block nothing is compared. ``end`` ends a study early, for good, and reports on
the blocks that there are. ``dose`` runs the dose curve, a block per seed in
``reports/study/dose/``, and writes ``dose.csv``, ``dose.svg`` and ``dose.png``, and into
``manipulation.csv`` how many examples each arm took of a hard cell, for one of an easy cell.
``dev`` writes the outcomes of the workspace's run, one of ``recipe=study-dev``, to
``reports/study/dev.json``: the choices before registration are based on it. ``base`` grades the
untrained model's answers to the study's problems, which DVC's target ``evaluate@base`` makes,
into ``base.json``.

    python -m tools.study run
    python -m tools.study report
    python -m tools.study end
    python -m tools.study dose
    python -m tools.study dev
    python -m tools.study base
"""

import signal
from collections.abc import Sequence
from typing import Any

from stages.lib.analysis.records import grade_answers
from stages.lib.core.files import read_json, write_json
from stages.lib.core.paths import EVAL_PROBLEMS, GRADES, STUDY_REPORTS
from stages.lib.core.tables import write_csv
from stages.lib.figures import style
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.params.load import load_params
from stages.lib.runtime import console
from tools.experiments import head_commit
from tools.study.blocks import Block, outcomes_of, read_blocks, read_outcomes, write_block
from tools.study.dose import dose_rows, manipulation_rows
from tools.study.endpoints import (
    cell_accuracies,
    compute,
    design,
    endpoints,
    planned_seeds,
    summaries,
    untrained_summaries,
)
from tools.study.figure import draw_dose, draw_forest
from tools.study.run import (
    check_code,
    check_dev,
    check_names,
    check_registered,
    load_recipe,
    run_block,
)
from tools.study.spec import Study, load_study

BLOCKS = STUDY_REPORTS / "blocks"

BASE = STUDY_REPORTS / "base.json"

# Stands where a study was ended early: whoever has seen its result runs no further block.
ENDED = STUDY_REPORTS / "ended.json"


def main(action: str) -> None:
    """Run what is missing, or report on what there is."""
    study = load_study()
    check_names(study)
    if action == "run":
        run(study)
    elif action in ("report", "end"):
        blocks, seeds = read(study)
        if not blocks or (len(blocks) < len(seeds) and action == "report"):
            raise ValueError(
                f"{BLOCKS}: {len(blocks)} of {len(seeds)} blocks: expected all before anything "
                "is compared"
            )
        if len(blocks) < len(seeds):
            write_json(ENDED, {"blocks": len(blocks), "planned": len(seeds)})
        report(study, blocks)
    elif action == "dose":
        dose(study)
    elif action == "dev":
        check_dev(load_params())
        outcomes, _ = read_outcomes(GRADES, EVAL_PROBLEMS / "ladder.parquet")
        write_json(STUDY_REPORTS / "dev.json", outcomes)
    elif action == "base":
        base(study)
    else:
        raise ValueError(f"{action!r}: expected run, report, end, dose, dev or base")


def read(study: Study) -> tuple[list[Block], list[int]]:
    """Return the blocks that there are, in the order of their seeds, and all planned seeds."""
    blocks = read_blocks(BLOCKS, study.seeds + study.look.seeds)
    check_registered(blocks)
    return blocks, planned_seeds(study, blocks)


def run(study: Study) -> None:
    """Run every block that has no file. Raises ValueError if the study was ended."""
    if ENDED.exists():
        raise ValueError(f"{ENDED}: the study was ended and its result seen: expected no more runs")
    commit = head_commit()
    while True:
        blocks, seeds = read(study)
        done = {block.seed for block in blocks}
        missing = [seed for seed in seeds if seed not in done]
        console.log_line(f"study: {len(seeds) - len(missing)} of {len(seeds)} blocks")
        if not missing:
            break
        check_code(study.recipe, blocks)
        write_block(BLOCKS, run_block(study.recipe, missing[0], commit))


def dose(study: Study) -> None:
    """Run the blocks of the dose curve that have no file, and write its tables and figure."""
    folder, seeds, recipe = STUDY_REPORTS / "dose", study.dose.seeds, study.dose.recipe
    check_dev(load_recipe(recipe))
    commit = head_commit()
    blocks = {block.seed: block for block in read_blocks(folder, seeds)}
    for seed in seeds:
        if seed not in blocks:
            check_code(recipe, list(blocks.values()))
            blocks[seed] = run_block(recipe, seed, commit)
            write_block(folder, blocks[seed])
    params, curve = load_recipe(recipe), [blocks[seed] for seed in seeds]
    rows = dose_rows(study, params, curve)
    write_csv(STUDY_REPORTS / "dose.csv", rows)
    if manipulation := manipulation_rows(study, params, curve):
        write_csv(STUDY_REPORTS / "manipulation.csv", manipulation)
    settings = load_params().figures
    colors = style.palette(settings.palette, [study.candidate, study.baseline])
    figure = draw_dose(rows, colors, width_in=settings.width_in)
    style.save(figure, STUDY_REPORTS / "dose", dpi=settings.dpi)


def base(study: Study) -> None:
    """Grade the untrained model's answers in the workspace to the study's problems."""
    params = load_params()
    problems = read_benchmarks([params.evaluate.held_out])
    graded = grade_answers(read_answers(["base"]), {}, problems, params.sandbox)
    records = [record for _, record in graded]
    source_of = {
        problem.id: problem.source for benchmark in problems.values() for problem in benchmark
    }
    outcomes, answered = outcomes_of(records, source_of)
    blocks, _ = read(study)
    if not blocks or answered != blocks[0].problems:
        raise ValueError(f"{EVAL_PROBLEMS}: problems {answered}: expected those of the study")
    write_json(BASE, outcomes)


def report(study: Study, blocks: Sequence[Block]) -> None:
    """Write the tables and the figure of the blocks."""
    results, arms = endpoints(study, blocks), summaries(study, blocks)
    write_json(STUDY_REPORTS / "design.json", design(study, load_recipe(study.recipe), blocks))
    rows: list[dict[str, Any]] = [
        {"endpoint": item.name, "first": item.first, "second": item.second}
        | {"stratum": item.stratum, "bound": item.bound, "blocks": len(blocks)}
        | item.comparison.interval()
        | {"verdict": item.verdict}
        for item in results
    ]
    write_csv(STUDY_REPORTS / "endpoints.csv", rows)
    untrained = read_json(BASE) if BASE.exists() else {}
    write_csv(
        STUDY_REPORTS / "arms.csv",
        [
            {"system": item.system, "stratum": item.stratum}
            | {"mean": round(item.mean, 4), "low": round(item.low, 4), "high": round(item.high, 4)}
            | {"run_sd": "" if item.run_sd is None else round(item.run_sd, 4)}
            | {"runs": " ".join(f"{value:.4f}" for value in item.by_run)}
            for item in [*untrained_summaries(study, blocks, untrained), *arms]
        ],
    )
    write_csv(STUDY_REPORTS / "cells.csv", cell_accuracies(study, blocks))
    write_csv(STUDY_REPORTS / "compute.csv", compute(study, blocks))
    settings = load_params().figures
    figure = draw_forest(
        results,
        arms,
        level=study.level,
        color=style.palette(settings.palette, [study.candidate])[study.candidate],
        width_in=settings.width_in,
    )
    style.save(figure, STUDY_REPORTS / "forest", dpi=settings.dpi)
    for row in rows:
        console.log_line(
            f"{row['endpoint']}: {row['difference']:+.4f} ({row['low']:+.4f} to "
            f"{row['high']:+.4f}; above {row['bound']:+.4f}?): {row['verdict']}"
        )


if __name__ == "__main__":
    # A SIGTERM ends the running block too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.run_stage("study", main, item="action", timed=False)
