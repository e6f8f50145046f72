"""Facts of a run that the paper states: sources, models, timings, hardware."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.significance import POWER, detectable_difference
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    AGREEMENT,
    METRICS,
    MODEL_REPORTS,
    MODELS,
    TABLES,
    TIMINGS,
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_csv, read_parquet
from stages.lib.params.root import Params
from stages.lib.provenance.versions import cpu_name

LOCK = Path("dvc.lock")

_DIFFERENCES = ("only_ours", "only_other", "other_failed")


def timings(params: Params) -> list[dict[str, Any]]:
    """Return the duration and peak memory of each stage of these parameters.

    Reports of other runs, which may lie in the same folder, are left out.
    """
    items = {
        "weigh": params.weigh.arms,
        "train": params.weigh.arms,
        "replay": params.weigh.replays,
        "grpo": params.grpo.models,
        "fetch": params.model.others,
        "merge": params.model.adapted,
        "quantize": params.quantize.gptq,
        "round": params.quantize.rounded,
        "evaluate": params.evaluate.models,
        "likelihood": params.evaluate.models,
        "follow_up": params.evaluate.models,
    }
    stages = {"model", "prepare", "sample", "resample", "score", "analyze", "cross_check"}
    stages |= {f"{stage}-{item}" for stage, names in items.items() for item in names}
    paths = sorted(TIMINGS.glob("*.json"))
    return [{"stage": path.stem} | read_json(path) for path in paths if path.stem in stages]


def detectable(params: Params) -> list[dict[str, Any]]:
    """Return the difference that each benchmark detects, as a share of its problems.

    That is under the assumed discordance, ``analyze.discordance``; benchmarks that detect none
    are left out.
    """
    counts = read_json(METRICS / "data.json")["problems"]
    differences = {
        name: detectable_difference(
            counts[name],
            params.analyze.discordance,
            power=POWER,
            alpha=1 - params.analyze.interval,
        )
        for name in params.prepare.benchmarks
    }
    return [{"benchmark": name, "points": points} for name, points in differences.items() if points]


def describe_sources() -> list[dict[str, Any]]:
    """Return each source of training problems with its first problem, sorted by level.

    ``pass_rates`` has those of the base model by prompting.
    """
    sampled = read_json(METRICS / "difficulty.json")
    by_source: dict[str, list[Problem]] = {}
    for problem in read_parquet(TRAIN_PROBLEMS, Problem):
        by_source.setdefault(problem.source, []).append(problem)
    by_level = sorted(by_source.items(), key=lambda item: item[1][0].level or 0)
    return [
        {
            "source": source,
            "topic": problems[0].topic,
            "n": len(problems),
            "example": problems[0].question,
            "answer": problems[0].answer,
            "pass_rates": {name: metrics["pass_rate"][source] for name, metrics in sampled.items()},
        }
        for source, problems in by_level
    ]


def identify_models(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the MD5 that DVC recorded for each model's folder, and its fingerprint."""
    lock = yaml.safe_load(LOCK.read_text(encoding="utf-8"))
    recorded = {
        out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
    }
    models = []
    for name in names:
        folder = str(MODELS / name)
        if folder not in recorded:
            raise ValueError(f"{LOCK}: {folder}: not recorded; expected an output of a stage")
        report = read_json(MODEL_REPORTS / f"{name}.json")
        models.append({"name": name, "md5": recorded[folder], "fingerprint": report["fingerprint"]})
    return models


def hardware() -> dict[str, Any]:
    """Return this machine's processor, cores and memory (GiB)."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def alarms() -> list[str]:
    """Return a sentence for each trained model that looks broken, by the analysis."""
    return [
        f"{row['system']} looks broken on {row['benchmark']} with "
        f"{ANSWER_MODES[row['prompting']]}: {row['alarm']}. Its numbers say nothing about its data."
        for row in read_csv(TABLES / "alarms.csv")
    ]


def agreement(benchmark: str) -> dict[str, int] | None:
    """Return on how many answers to a benchmark the two graders agree; None without such answers.

    ``failed`` counts the answers on which Math-Verify failed.
    """
    rows = [row for row in read_csv(AGREEMENT / "agreement.csv") if row["benchmark"] == benchmark]
    if not rows:
        return None
    counts = {name: sum(int(row[name]) for row in rows) for name in ("n", *_DIFFERENCES)}
    agreeing = counts["n"] - sum(counts[name] for name in _DIFFERENCES)
    return {"n": counts["n"], "agree": agreeing, "failed": counts["other_failed"]}
