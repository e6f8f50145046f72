"""Run a registered study block by block, and say what its blocks show.

Reads ``conf/study.yaml``. ``run`` runs the blocks that have no file yet, each as a DVC
experiment of the current commit, and leaves ``reports/study/blocks/SEED.json``: commit it, and
another machine goes on with the next. Writes into ``reports/study/`` after every block, and
with ``report`` alone:

- ``endpoints.csv``: the registered comparisons, with their intervals and verdicts,
- ``arms.csv``: the accuracy of each arm, by stratum and run.

    python -m tools.study run
    python -m tools.study report
"""

import signal
from typing import Any

from stages.lib.core.paths import REPORTS
from stages.lib.core.tables import write_csv
from stages.lib.params.evaluation import MIN_RUNS
from stages.lib.runtime import console
from tools.experiments import head_commit
from tools.study.blocks import read_blocks, write_block
from tools.study.endpoints import endpoints, summaries
from tools.study.run import run_block
from tools.study.spec import Study, load_study

FOLDER = REPORTS / "study"
BLOCKS = FOLDER / "blocks"


def main(action: str) -> None:
    """Run what is missing, or report on what there is."""
    study = load_study()
    if action == "run":
        run(study)
    elif action == "report":
        report(study)
    else:
        raise ValueError(f"{action!r}: expected run or report")


def run(study: Study) -> None:
    """Run every block that has no file, and report after each."""
    commit = head_commit()
    done = {block.seed for block in read_blocks(BLOCKS, study.seeds)}
    with console.progress_bar(total=len(study.seeds), desc="study", unit="block") as progress:
        progress.update(len(done))
        for seed in study.seeds:
            if seed not in done:
                write_block(BLOCKS, run_block(study, seed, commit))
                report(study)
                progress.update()


def report(study: Study) -> None:
    """Write the tables of the blocks so far."""
    blocks = read_blocks(BLOCKS, study.seeds)
    if len(blocks) < MIN_RUNS:
        console.log_line(f"study: {len(blocks)} blocks: expected {MIN_RUNS} or more to report on")
        return
    rows: list[dict[str, Any]] = [
        {"endpoint": item.name, "first": item.first, "second": item.second}
        | {"stratum": item.stratum, "bound": item.bound, "blocks": len(blocks)}
        | item.comparison.interval()
        | {"verdict": item.verdict}
        for item in endpoints(study, blocks)
    ]
    write_csv(FOLDER / "endpoints.csv", rows)
    write_csv(
        FOLDER / "arms.csv",
        [
            {"system": item.system, "stratum": item.stratum}
            | {"mean": round(item.mean, 4), "run_sd": round(item.run_sd, 4)}
            | {"runs": " ".join(f"{value:.4f}" for value in item.by_run)}
            for item in summaries(study, blocks)
        ],
    )
    for row in rows:
        console.log_line(
            f"{row['endpoint']}: {row['difference']:+.4f} ({row['low']:+.4f} to "
            f"{row['high']:+.4f}; above {row['bound']:+.4f}?): {row['verdict']}"
        )


if __name__ == "__main__":
    # A SIGTERM ends the running block too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.run_stage("study", main, item="action", timed=False)
