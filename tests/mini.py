"""The whole pipeline in miniature: a repository of its own, and how its runs are compared."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from stages.lib.analysis.speeds import COLUMNS as SPEEDS
from stages.lib.core.paths import TABLES
from tests.arms import LORA
from tools.reruns import with_values

REPOSITORY = Path(__file__).parents[1]
DVC = [sys.executable, "-m", "dvc"]

# Outputs that hold a duration or a speed, and so differ between runs; no other may.
TIMED = (
    "reports/timings/",
    "reports/models/",
    "reports/tables",
    "reports/figures",
    "reports/compute.csv",
    "reports/paper.pdf",
    "reports/index.html",
)
ADAPTIVE = {"strategy": "repeat", "base": 1, "factor": 1}


def gptq4(parent: str) -> dict[str, Any]:
    """Return the parameters of an arm's GPTQ model of 4 bits."""
    texts = f"data/training/{parent}.parquet"
    return {"parent": parent, "bits": 4, "calibrate_on": texts, "calibration_seed": 1}


SMALL = {
    "prepare.rungs": ["sum-1-digit", "fraction", "product-2x2"],
    "prepare.train": [{"source": "ladder", "per_rung": 6}],
    "prepare.demonstrations": 1,
    "prepare.benchmarks": {
        "ladder": {"source": "ladder", "per_rung": 2, "part": "test"},
        "gsm8k": {"source": "gsm8k", "size": 3},
        "math500": {"source": "math500", "size": 3},
        "aqua": {"source": "aqua", "path": "aqua.json", "size": "all"},
    },
    "engine.kv_cache_gib": 1,
    "engine.max_model_len": 2048,
    "engine.batch_size": 6,
    "sample.k": 2,
    "sample.shots": 1,
    "sample.max_tokens": 16,
    "train.steps": 4,
    "train.tokens_per_step": 600,
    "train.micro_batches": 2,
    "train.max_length": 1024,
    "train.learning_rate": 1e-3,
    "train.warmup_steps": 0,
    "train.save_every": 2,
    "quantize.gptq": {"adaptive-gptq4": gptq4("adaptive")},
    "quantize.group_size": 32,
    "quantize.calibration.examples": 16,
    "quantize.calibration.max_length": 1024,
    "evaluate.models": {"base": [0, 1], "adaptive": [0], "adaptive-gptq4": [0]},
    "evaluate.prompting": ["cot", "pot"],
    "evaluate.max_tokens": {"ladder": 16, "gsm8k": 16, "math500": 16, "aqua": 16},
    "evaluate.sampling": {"samples": 2, "temperature": 1.0, "top_p": 1.0, "seed": 1},
    "evaluate.speed": {"prompts": 4, "tokens": 4, "repeats": 2},
    "analyze.compare": [["adaptive", "base"], ["adaptive-gptq4", "adaptive"]],
    "weigh.prompting": ["cot", "pot"],
    "weigh.replays": {},
    "weigh.arms": {"uniform": {"strategy": "uniform"}, "adaptive": ADAPTIVE},
}

AQUA = [
    {
        "question": f"What is {number} + {number}?",
        "options": [f"A){number}", f"B){2 * number}"],
        "rationale": f"It is {2 * number}.",
        "correct": "B",
    }
    for number in (2, 3)
]


def copy_tree(into: Path) -> None:
    """Copy the files of the working tree that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).exists():  # else deleted, and not yet committed
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, into / name)


def clone(into: Path, base: Path) -> Path:
    """Make a repository with the working tree's files, no results, and small parameters."""
    copy_tree(into)
    for path in [path for path in (into / "reports").rglob("*") if path.is_file()]:
        if not path.name.endswith((".typ", ".bib", "README.md")):
            path.unlink()
    (into / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=into, check=True)
    # DVCLive asks for the commit that it is used at.
    commit(into)
    make_small(into)
    set_params(
        into,
        {
            "model.base": f"folder:{base}",
            # One arm and one model fewer: each costs several stages. The merged model of this
            # arm is quantized and evaluated as any other.
            "weigh.arms": {"adaptive": ADAPTIVE | {"train": {"tuning": LORA}}},
            "evaluate.models": {"adaptive": [0, 1], "adaptive-gptq4": [0]},
            "analyze.compare": [["adaptive-gptq4", "adaptive"], ["adaptive-1shot", "adaptive"]],
        },
    )
    return into


def commit(repository: Path) -> None:
    """Commit what is staged, be it nothing."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    committing = ["git", *identity, "commit", "--quiet", "--allow-empty", "--message", "test"]
    subprocess.run(committing, cwd=repository, check=True)


def make_small(repository: Path) -> None:
    """Set small parameters, and write the file that they name."""
    (repository / "aqua.json").write_text("\n".join(map(json.dumps, AQUA)), encoding="utf-8")
    set_params(repository, SMALL)


def set_params(repository: Path, values: dict[str, Any]) -> None:
    """Set values of params.yaml, named by dotted paths."""
    path = repository / "params.yaml"
    params = with_values(yaml.safe_load(path.read_text(encoding="utf-8")), values)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def environment(repository: Path) -> dict[str, str]:
    """Return what DVC needs around it to run the repository's own stages."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(repository),
    }


def start(repository: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start DVC in a session of its own: ``dvc repro`` unless told otherwise."""
    return subprocess.Popen(
        [*DVC, *(arguments or ("repro",))],
        cwd=repository,
        env=environment(repository),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stages_run(output: str) -> set[str]:
    """Return the stages that DVC ran, from what it printed."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def hashes(repository: Path) -> dict[str, str]:
    """Return the MD5 that dvc.lock has for every output without times."""
    lock = yaml.safe_load((repository / "dvc.lock").read_text(encoding="utf-8"))
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage["outs"]
        if not out["path"].startswith(TIMED)
    }


def tables(repository: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of the analysis, without speeds."""
    return {
        path.name: pd.read_csv(path, keep_default_na=False)
        .drop(columns=list(SPEEDS), errors="ignore")
        .to_dict("records")
        for path in (repository / TABLES).iterdir()
    }


def locked(repository: Path) -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.lock."""
    return yaml.safe_load((repository / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def cached_files(repository: Path, oid: str) -> list[tuple[str, Path]]:
    """Return name in the output and path in the cache of each file of a cached output."""
    stored = repository / ".dvc/cache/files/md5" / oid[:2] / oid[2:]
    if not oid.endswith(".dir"):
        return [("", stored)]
    entries = json.loads(stored.read_text(encoding="utf-8"))
    return [
        (entry["relpath"], stored.parents[1] / entry["md5"][:2] / entry["md5"][2:])
        for entry in entries
    ]


def cut(run: Path, into: Path, names: Collection[str]) -> None:
    """Copy a finished run without what some stages made, DVC's memory of it included."""
    shutil.copytree(run, into, symlinks=True, dirs_exist_ok=True)
    stages = locked(run)
    for out in (out for name in names for out in stages[name]["outs"]):
        path = into / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    kept = {name: stage for name, stage in stages.items() if name not in names}
    if kept:
        lock = {"schema": "2.0", "stages": kept}
        (into / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    else:
        (into / "dvc.lock").unlink()
    # From its cache of runs DVC would restore the outputs.
    shutil.rmtree(into / ".dvc/cache/runs")
    still_cached = {
        path
        for stage in kept.values()
        for out in stage["outs"]
        if out["path"].startswith("data/")
        for path in _stored(into, out["md5"])
    }
    for path in (into / ".dvc/cache/files").rglob("*"):
        if path.is_file() and path not in still_cached:
            path.unlink()


def _stored(repository: Path, oid: str) -> list[Path]:
    own = repository / ".dvc/cache/files/md5" / oid[:2] / oid[2:]
    return [own, *(path for _, path in cached_files(repository, oid))]
