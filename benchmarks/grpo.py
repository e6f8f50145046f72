"""The miniature of GRPO: does the reward rise beyond noise, and how long does it take?

Runs the model of the recipe ``grpo`` with three seeds, each in a separate process and folder,
and compares the rewards of the parent and of the GRPO model on the same problems
(``benchmarks.grpo_rewards``): the training problems, and the held-out ladder. The intervals are
at 95%: one over seeds and problems (``stages.lib.analysis.seeds``), and Student's over the seeds
alone. The line also has the mean reward of the last quarter of steps minus that of the first.
Needs the parent's model, the problems and their difficulty in ``data/``. ``seconds`` are of the
whole stage, imports included.

Each seed's log by step, rewards by problem, settings and seconds are saved in
``reports/benchmarks/``, and the rises over all seeds in ``grpo.csv``.
With seeds on the command line only those are run, and the saved results of the others are used.

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
from scipy.stats import t as student

from benchmarks import grpo_rewards
from benchmarks.report import print_line, write_params
from stages.lib.analysis.seeds import compare_runs
from stages.lib.core.files import atomic_replace, read_json, write_json
from stages.lib.core.paths import (
    CONF,
    DIFFICULTY,
    MODELS,
    PARAMS,
    REPORTS,
    TIMINGS,
    TRAIN_PROBLEMS,
    TRAINING_LOGS,
)
from stages.lib.core.tables import write_csv
from stages.lib.params.compose import compose
from stages.lib.params.load import load_params

SEEDS = (1, 2, 3)
RESULTS = REPORTS / "benchmarks"
SUMMARY = RESULTS / "grpo.csv"
LEVEL = 0.95


def summarize_rises(befores: Sequence[float], afters: Sequence[float]) -> dict[str, Any]:
    """Return the mean rise over the seeds with Student's interval.

    Raises ValueError for fewer than two seeds.
    """
    if len(befores) < 2:
        raise ValueError(f"seeds: {len(befores)}: expected at least 2")
    rises = [after - before for before, after in zip(befores, afters, strict=True)]
    mean = fmean(rises)
    half = stdev(rises) / len(rises) ** 0.5 * float(student.ppf((1 + LEVEL) / 2, len(rises) - 1))
    return {
        "before": round(fmean(befores), 4),
        "after": round(fmean(afters), 4),
        "rises": [round(rise, 4) for rise in rises],
        "rise": round(mean, 4),
        "seeds_low": round(mean - half, 4),
        "seeds_high": round(mean + half, 4),
    }


def summarize_steps(rewards: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the rise of the mean reward from the first to the last quarter of steps.

    ``rewards`` are those of each step, for each seed.
    """
    firsts = [fmean(steps[: max(1, len(steps) // 4)]) for steps in rewards]
    lasts = [fmean(steps[-max(1, len(steps) // 4) :]) for steps in rewards]
    return summarize_rises(firsts, lasts)


def summarize_problems(tables: Sequence[pd.DataFrame], max_reward: float) -> dict[str, Any]:
    """Return the rise of the mean reward on fixed problems, with both intervals.

    Each seed's table has ``before``, ``after`` and ``source`` by problem, in the same order;
    ``max_reward`` is the highest possible reward, which scales rewards to at most 1 for
    ``compare_runs``. ``low`` and ``high`` are over seeds and problems; problems are resampled
    inside their sources if every source has several. Raises ValueError for fewer than three seeds.
    """
    before, after = (np.array([table[side] for table in tables]) for side in ("before", "after"))
    sources = tables[0]["source"]
    pooled = sources.value_counts().min() < 2
    strata = np.zeros(len(sources)) if pooled else sources.to_numpy()
    difference = compare_runs(after / max_reward, before / max_reward, strata, level=LEVEL)
    return summarize_rises(before.mean(axis=1).tolist(), after.mean(axis=1).tolist()) | {
        "low": round(difference.low * max_reward, 4),
        "high": round(difference.high * max_reward, 4),
    }


def run(seed: int) -> None:
    """Run GRPO with a seed; save log, time and rewards."""
    repository = Path.cwd()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        name, parent = _prepare(root, seed)
        subprocess.run(
            [sys.executable, "-m", "stages.grpo", name],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(repository)},
            check=True,
        )
        files = sorted((root / TRAINING_LOGS / name / "plots" / "metrics").glob("*.tsv"))
        tables = [pd.read_csv(path, sep="\t", index_col="step") for path in files]
        params = load_params(root / PARAMS)
        before = grpo_rewards.rewards(MODELS / parent, params, seed)
        after = grpo_rewards.rewards(root / MODELS / name, params, seed)
        seconds = read_json(root / TIMINGS / f"grpo-{name}.json")["seconds"]
    with atomic_replace(RESULTS / f"grpo-{seed}.csv") as tmp:
        pd.concat(tables, axis="columns").to_csv(tmp, lineterminator="\n")
    write_csv(
        _rewards_path(seed), [_pair(first, last) for first, last in zip(before, after, strict=True)]
    )
    settings = params.grpo.model_dump(mode="json", exclude={"models"})
    write_json(_info_path(seed), {"seconds": seconds, "settings": settings})


def summarize_runs(seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return the rises of saved runs: on each set of problems, and over the steps.

    Raises ValueError if their settings differ.
    """
    first, *others = [read_json(_info_path(seed))["settings"] for seed in seeds]
    if any(other != first for other in others):
        raise ValueError(f"{RESULTS}: seeds {list(seeds)} ran with other settings: run all of them")
    max_reward = sum(reward["weight"] for reward in first["rewards"].values())
    tables = [pd.read_csv(_rewards_path(seed)) for seed in seeds]
    step_rewards = [pd.read_csv(RESULTS / f"grpo-{seed}.csv")["reward"].dropna() for seed in seeds]
    return {
        kind: summarize_problems([table.loc[table["set"] == kind] for table in tables], max_reward)
        for kind in grpo_rewards.ANSWERS
    } | {
        "steps": summarize_steps([rewards.tolist() for rewards in step_rewards])
        | {"low": None, "high": None}
    }


def _prepare(root: Path, seed: int) -> tuple[str, str]:
    """Write and link a run's inputs; return the names of the model to train and its parent."""
    repository = Path.cwd()
    values = compose(["recipe=grpo"], CONF)
    (name, model), *_ = values["grpo"]["models"].items()
    model["seed"] = seed
    write_params(root, values)
    for path in (MODELS / model["parent"], TRAIN_PROBLEMS, DIFFICULTY):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(repository / path)
    return name, model["parent"]


def _pair(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {key: before[key] for key in ("set", "problem_id", "source")} | {
        "before": round(before["reward"], 4),
        "after": round(after["reward"], 4),
        "right_before": round(before["correct"], 4),
        "right_after": round(after["correct"], 4),
    }


def _rewards_path(seed: int) -> Path:
    return RESULTS / f"grpo-rewards-{seed}.csv"


def _info_path(seed: int) -> Path:
    return RESULTS / f"grpo-{seed}.json"


def main() -> None:
    """Run the seeds; print the line if all seeds have results."""
    for seed in [int(argument) for argument in sys.argv[1:]] or SEEDS:
        run(seed)
    missing = [seed for seed in SEEDS if not _info_path(seed).exists()]
    if missing:
        sys.exit(f"seeds {missing}: not run yet: python -m benchmarks.grpo SEED ...")
    rises_by_set = summarize_runs(SEEDS)
    write_csv(SUMMARY, [{"on": on} | rises for on, rises in rises_by_set.items()])
    trained = rises_by_set.pop("asked")
    print_line(
        "grpo",
        ours=trained.pop("after"),
        peer=trained.pop("before"),
        unit="mean reward",
        against="its parent, on the problems that it was asked",
        better="more",
        **trained,
        **rises_by_set,
        seconds=[read_json(_info_path(seed))["seconds"] for seed in SEEDS],
    )


if __name__ == "__main__":
    main()
