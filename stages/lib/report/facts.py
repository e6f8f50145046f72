"""Facts of a run that the paper states: sources, models, timings, hardware."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stages.lib.analysis.speeds import NO_KERNEL
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    METRICS,
    MODEL_REPORTS,
    MODELS,
    TABLES,
    TIMINGS,
    TRAIN_PROBLEMS,
)
from stages.lib.core.schema import Problem
from stages.lib.core.tables import read_parquet
from stages.lib.params.root import Params
from stages.lib.report import claims

LOCK = Path("dvc.lock")

CPU_INFO = Path("/proc/cpuinfo")


def timings(wanted: Params) -> list[dict[str, Any]]:
    """Return what each stage of these parameters took; stages of other runs lie beside them."""
    ran = {"model", "prepare", "sample", "score", "analyze"}
    for stage, items in (
        ("weigh", wanted.weigh.arms),
        ("train", wanted.weigh.arms),
        ("grpo", wanted.grpo.models),
        ("quantize", wanted.quantize.models),
        ("evaluate", wanted.evaluate.models),
    ):
        ran |= {f"{stage}-{item}" for item in items}
    paths = sorted(TIMINGS.glob("*.json"))
    return [{"stage": path.stem} | read_json(path) for path in paths if path.stem in ran]


def describe_sources() -> list[dict[str, Any]]:
    """Return each source of training problems, by its mean level, with an example.

    Where nothing was sampled there is no pass rate.
    """
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    rates = read_json(METRICS / "difficulty.json").get("pass_rate", {})
    members: dict[str, list[Problem]] = {}
    for problem in problems:
        members.setdefault(problem.source, []).append(problem)
    by_level = sorted(members.values(), key=lambda of: of[0].level or 0)
    return [
        {
            "source": of[0].source,
            "topic": of[0].topic,
            "n": len(of),
            "example": of[0].question,
            "answer": of[0].answer,
            "pass_rate": rates.get(of[0].source),
        }
        for of in by_level
    ]


def identify_models(names: list[str]) -> list[dict[str, Any]]:
    """Return the MD5 that DVC recorded for each model's folder, and its fingerprint."""
    lock = yaml.safe_load(LOCK.read_text(encoding="utf-8"))
    recorded = {
        out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
    }
    found = []
    for name in names:
        folder = str(MODELS / name)
        if folder not in recorded:
            raise ValueError(f"{LOCK}: {folder}: not recorded; expected an output of a stage")
        report = read_json(MODEL_REPORTS / f"{name}.json")
        found.append({"name": name, "md5": recorded[folder], "fingerprint": report["fingerprint"]})
    return found


def hardware() -> dict[str, Any]:
    """Return this machine's processor, cores and memory (GiB)."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def flatten(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return nested parameters as (dotted key, JSON value) pairs."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            for pair in flatten(inner, f"{path}.{key}" if path else key)
        ]
    return [(path, json.dumps(value, ensure_ascii=False))]


def read_rows(table: str) -> list[claims.TableRow]:
    """Return the rows of a table of the analysis."""
    return [
        dict(row)
        for row in pd.read_csv(TABLES / f"{table}.csv", na_values=[NO_KERNEL]).to_dict("records")
    ]
