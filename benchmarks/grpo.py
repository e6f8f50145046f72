"""The miniature of GRPO: does the reward rise beyond noise, and how long does it take?

Runs the model of the recipe ``grpo`` with three seeds, each as its own process of the stage
in a folder of its own, and compares what the parent and the GRPO model earn on the
same problems (``benchmarks.grpo_rewards``): on those that the runs ask, and on the ladder's, which
they never saw. The intervals are at 95%: one over seeds and problems
(``stages.lib.analysis.seeds``), and Student's over the seeds alone. Beside them stands
the mean reward of the last quarter of steps less that of the first. Needs the parent's model,
the problems and their difficulty in ``data/``. ``seconds`` are of the whole stage, imports
included.

Each seed's log by step, rewards by problem, settings and seconds are kept in
``reports/benchmarks/``, and the rises of all in ``grpo.csv``.
With seeds on the command line only those are run, and the others are taken from there.

    python -m benchmarks.grpo [SEED ...]
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml
from dvc.utils.hydra import compose_and_dump
from scipy.stats import t as student

from benchmarks import grpo_rewards
from benchmarks.report import line
from stages.lib.analysis.seeds import compare_runs
from stages.lib.core.files import atomic_replace, read_json, write_json
from stages.lib.core.paths import (
    DIFFICULTY,
    MODELS,
    PARAMS,
    REPORTS,
    TIMINGS,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.core.tables import write_csv
from stages.lib.params.load import load_params

SEEDS = (1, 2, 3)
KEPT = REPORTS / "benchmarks"
SUMMARY = KEPT / "grpo.csv"
LEVEL = 0.95


def over_seeds(befores: Sequence[float], afters: Sequence[float]) -> dict[str, Any]:
    """Return the mean rise over the seeds with Student's interval.

    Raises ValueError for fewer than two seeds.
    """
    if len(befores) < 2:
        raise ValueError(f"seeds: {len(befores)}: expected at least 2")
    rises = [after - before for before, after in zip(befores, afters, strict=True)]
    middle = fmean(rises)
    half = stdev(rises) / len(rises) ** 0.5 * float(student.ppf((1 + LEVEL) / 2, len(rises) - 1))
    return {
        "before": round(fmean(befores), 4),
        "after": round(fmean(afters), 4),
        "rises": [round(one, 4) for one in rises],
        "rise": round(middle, 4),
        "seeds_low": round(middle - half, 4),
        "seeds_high": round(middle + half, 4),
    }


def of_steps(rewards: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the rise of the mean reward from the first to the last quarter of steps.

    ``rewards`` are those of each step, by seed.
    """
    firsts = [fmean(steps[: max(1, len(steps) // 4)]) for steps in rewards]
    lasts = [fmean(steps[-max(1, len(steps) // 4) :]) for steps in rewards]
    return over_seeds(firsts, lasts)


def of_problems(tables: Sequence[pd.DataFrame], most: float) -> dict[str, Any]:
    """Return the rise of the mean reward on fixed problems, with both intervals.

    A seed's table has ``before``, ``after`` and ``source`` by problem, in one order;
    ``most`` is the highest reward, which ``compare_runs`` is to see as 1. ``low`` and
    ``high`` are over seeds and problems, the latter inside their sources where each source
    has several. Raises ValueError for fewer than three seeds.
    """
    before, after = (np.array([table[side] for table in tables]) for side in ("before", "after"))
    sources = tables[0]["source"]
    alone = sources.value_counts().min() < 2
    strata = np.zeros(len(sources)) if alone else sources.to_numpy()
    found = compare_runs(after / most, before / most, strata, level=LEVEL)
    return over_seeds(before.mean(axis=1).tolist(), after.mean(axis=1).tolist()) | {
        "low": round(found.low * most, 4),
        "high": round(found.high * most, 4),
    }


def run(seed: int) -> None:
    """Grpo with a seed, and keep its log, its seconds, and what it earns."""
    here = Path.cwd()
    with TemporaryDirectory() as folder:
        there = Path(folder)
        name, parent = _prepare(there, seed)
        subprocess.run(
            [sys.executable, "-m", "stages.grpo", name],
            cwd=there,
            env=os.environ | {"PYTHONPATH": str(here)},
            check=True,
        )
        files = sorted((there / TRAINING_LOGS / name / "plots" / "metrics").glob("*.tsv"))
        tables = [pd.read_csv(path, sep="\t", index_col="step") for path in files]
        wanted = load_params(there / PARAMS)
        before = grpo_rewards.rewards(MODELS / parent, wanted, seed)
        after = grpo_rewards.rewards(there / MODELS / name, wanted, seed)
        seconds = read_json(there / TIMINGS / f"grpo-{name}.json")["seconds"]
    with atomic_replace(KEPT / f"grpo-{seed}.csv") as aside:
        pd.concat(tables, axis="columns").to_csv(aside, lineterminator="\n")
    write_csv(
        _rewards(seed), [_pair(first, last) for first, last in zip(before, after, strict=True)]
    )
    settings = wanted.grpo.model_dump(mode="json", exclude={"models"})
    write_json(_about(seed), {"seconds": seconds, "settings": settings})


def summary(seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the rises of kept runs: on each set of problems, and over the steps.

    Raises ValueError if they had not the same settings.
    """
    first, *others = [read_json(_about(seed))["settings"] for seed in seeds]
    if any(other != first for other in others):
        raise ValueError(f"{KEPT}: seeds {list(seeds)} ran with other settings: run all of them")
    most = sum(first["rewards"].values())
    tables = [pd.read_csv(_rewards(seed)) for seed in seeds]
    steps = [pd.read_csv(KEPT / f"grpo-{seed}.csv")["reward"].dropna() for seed in seeds]
    return {
        kind: of_problems([table.loc[table["set"] == kind] for table in tables], most)
        for kind in grpo_rewards.ANSWERS
    } | {"steps": of_steps([one.tolist() for one in steps]) | {"low": None, "high": None}}


def _prepare(there: Path, seed: int) -> tuple[str, str]:
    """Lay out what a run reads; return the names of the model to make and of its parent."""
    here = Path.cwd()
    compose_and_dump(str(there / PARAMS), str(here / "conf"), None, "config", "", ["recipe=grpo"])
    values = yaml.safe_load((there / PARAMS).read_text(encoding="utf-8"))
    (name, made), *_ = values["grpo"]["models"].items()
    made["seed"] = seed
    (there / PARAMS).write_text(yaml.safe_dump(values), encoding="utf-8")
    for path in (MODELS / made["parent"], TRAIN_PROBLEMS, DIFFICULTY):
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        (there / path).symlink_to(here / path)
    return name, made["parent"]


def _pair(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {key: before[key] for key in ("set", "problem_id", "source")} | {
        "before": round(before["reward"], 4),
        "after": round(after["reward"], 4),
        "right_before": round(before["right"], 4),
        "right_after": round(after["right"], 4),
    }


def _rewards(seed: int) -> Path:
    return KEPT / f"grpo-rewards-{seed}.csv"


def _about(seed: int) -> Path:
    return KEPT / f"grpo-{seed}.json"


def main() -> None:
    """Run the seeds and print the line, once all have been run."""
    for seed in [int(one) for one in sys.argv[1:]] or SEEDS:
        run(seed)
    missing = [seed for seed in SEEDS if not _about(seed).exists()]
    if missing:
        sys.exit(f"seeds {missing}: not run yet: python -m benchmarks.grpo SEED ...")
    found = summary(SEEDS)
    write_csv(SUMMARY, [{"on": on} | rises for on, rises in found.items()])
    asked = found.pop("asked")
    print(
        line(
            "grpo",
            ours=asked.pop("after"),
            peer=asked.pop("before"),
            unit="mean reward",
            against="its parent, on the problems that it was asked",
            better="more",
            **asked,
            **found,
            seconds=[read_json(_about(seed))["seconds"] for seed in SEEDS],
        )
    )


if __name__ == "__main__":
    main()
