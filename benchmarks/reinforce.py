"""The miniature of GRPO: does the reward rise beyond noise, and how long does it take?

Runs the model of the recipe ``grpo`` with three seeds, each as its own process of the stage
in a folder of its own, and compares the mean reward of the last quarter of steps with that
of the first. The interval is Student's, at 95%, over the seeds. Needs the parent's model,
the problems and their difficulty in ``data/``. ``seconds`` are of the whole stage, imports
included. The logs by step are kept in ``reports/benchmarks/``.

    python -m benchmarks.reinforce
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml
from dvc.utils.hydra import compose_and_dump
from scipy.stats import t as student

from benchmarks.report import line
from stages.lib.files import read_json, replacing
from stages.lib.paths import (
    DIFFICULTY,
    MODELS,
    PARAMS,
    REPORTS,
    TIMINGS,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)

SEEDS = (1, 2, 3)
KEPT = REPORTS / "benchmarks"


def rise(rewards: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the rise of the mean reward from the first to the last quarter of steps.

    ``rewards`` are those of each step, by seed. ``rise`` is the mean over the seeds,
    ``low`` and ``high`` its 95% interval. Raises ValueError for fewer than two seeds.
    """
    if len(rewards) < 2:
        raise ValueError(f"seeds: {len(rewards)}: expected at least 2")
    firsts = [fmean(steps[: max(1, len(steps) // 4)]) for steps in rewards]
    lasts = [fmean(steps[-max(1, len(steps) // 4) :]) for steps in rewards]
    rises = [last - first for first, last in zip(firsts, lasts, strict=True)]
    middle = fmean(rises)
    half = stdev(rises) / len(rises) ** 0.5 * float(student.ppf(0.975, len(rises) - 1))
    return {
        "first": fmean(firsts),
        "last": fmean(lasts),
        "rises": [round(one, 4) for one in rises],
        "rise": round(middle, 4),
        "low": round(middle - half, 4),
        "high": round(middle + half, 4),
    }


def run(seed: int) -> tuple[list[float], float]:
    """Reinforce with a seed; return the reward of each step, and the stage's seconds."""
    here = Path.cwd()
    with TemporaryDirectory() as folder:
        there = Path(folder)
        compose_and_dump(
            str(there / PARAMS), str(here / "conf"), None, "config", "", ["recipe=grpo"]
        )
        values = yaml.safe_load((there / PARAMS).read_text(encoding="utf-8"))
        (name, made), *_ = values["reinforce"]["models"].items()
        made["seed"] = seed
        (there / PARAMS).write_text(yaml.safe_dump(values), encoding="utf-8")
        for path in (MODELS / made["parent"], TRAIN_PROBLEMS, DIFFICULTY):
            (there / path).parent.mkdir(parents=True, exist_ok=True)
            (there / path).symlink_to(here / path)
        subprocess.run(
            [sys.executable, "-m", "stages.reinforce", name],
            cwd=there,
            env=os.environ | {"PYTHONPATH": str(here)},
            check=True,
        )
        files = sorted((there / TRAINING_LOGS / name / "plots" / "metrics").glob("*.tsv"))
        tables = [pd.read_csv(path, sep="\t", index_col="step") for path in files]
        log = pd.concat(tables, axis="columns")
        with replacing(KEPT / f"reinforce-{seed}.csv") as aside:
            log.to_csv(aside, lineterminator="\n")
        seconds = read_json(there / TIMINGS / f"reinforce-{name}.json")["seconds"]
    return log["reward"].dropna().tolist(), seconds


def main() -> None:
    """Run the seeds and print the line."""
    found = [run(seed) for seed in SEEDS]
    rises = rise([rewards for rewards, _ in found])
    print(
        line(
            "reinforce",
            ours=rises.pop("last"),
            peer=rises.pop("first"),
            unit="mean reward",
            against="its own first quarter of steps",
            better="more",
            **rises,
            seconds=[seconds for _, seconds in found],
        )
    )


if __name__ == "__main__":
    main()
