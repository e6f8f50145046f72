"""An undisturbed run of a smaller pipeline yet, and copies of it that are cut at a stage.

The arm is a LoRA, the quantized model GPTQ, the benchmarks ``ladder`` and one with options.
"""

import json
import shutil
import time
from pathlib import Path

import yaml

from tests.conftest import byte_tokenizer, save_tiny
from tests.repro import Run
from tests.small import cached_files, clone, locked, set_params

SMALLER = {
    "weigh.arms": {"adaptive": {"strategy": "repeat", "base": 1, "factor": 1}},
    "prepare.benchmarks": {
        "ladder": {"source": "ladder", "per_rung": 2},
        "aqua": {"source": "aqua", "path": "aqua.json", "size": "all"},
    },
    "evaluate.models": {"adaptive": [0], "adaptive-gptq4": [0]},
    "evaluate.max_tokens": {"ladder": 16, "aqua": 16},
    "evaluate.speed": {"prompts": 2, "tokens": 2, "repeats": 1},
    "analyze.compare": [["adaptive-gptq4", "adaptive"]],
}


class Whole:
    """The undisturbed run that the others are cut from and compared with."""

    def __init__(self, folder: Path) -> None:
        """Run it, unless the folder has one."""
        self.folder = folder / "whole"
        took = folder / "seconds.json"
        if not took.exists():
            base = save_tiny(folder / "tiny", byte_tokenizer())
            set_params(clone(self.folder, base), SMALLER)
            took.write_text(json.dumps(_undisturbed(self.folder, folder / "whole.txt")))
        self.seconds: dict[str, float] = json.loads(took.read_text(encoding="utf-8"))
        self.stages = locked(self.folder)
        self.outs = [out["path"] for stage in self.stages.values() for out in stage["outs"]]

    def cut(self, into: Path, names: list[str]) -> None:
        """Copy it without what some stages made."""
        shutil.copytree(self.folder, into, symlinks=True, dirs_exist_ok=True)
        for out in (out for name in names for out in self.stages[name]["outs"]):
            path = into / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        kept = {name: stage for name, stage in self.stages.items() if name not in names}
        if kept:
            lock = {"schema": "2.0", "stages": kept}
            (into / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
        else:
            (into / "dvc.lock").unlink()
        shutil.rmtree(into / ".dvc/cache/runs")
        cached = {
            path
            for stage in kept.values()
            for out in stage["outs"]
            if out["path"].startswith("data/")
            for path in _stored(into, out["md5"])
        }
        for path in (into / ".dvc/cache/files").rglob("*"):
            if path.is_file() and path not in cached:
                path.unlink()

    def growth(self, names: list[str]) -> int:
        """Return how many bytes these stages write, DVC's copies included; 4 KiB at least each."""
        files = [
            (file, 2 if out["path"].startswith("data/") else 1)
            for name in names
            for out in self.stages[name]["outs"]
            for file in [self.folder / out["path"], *(self.folder / out["path"]).rglob("*")]
        ]
        return sum((file.stat().st_size // 4096 + 1) * 4096 * times for file, times in files)

    def inputs(self, names: list[str]) -> dict[str, str]:
        """Return the cached outputs of other stages that these read: MD5 by path."""
        read = [dep["path"] for name in names for dep in self.stages[name]["deps"]]
        return {
            out["path"]: out["md5"]
            for name, stage in self.stages.items()
            if name not in names
            for out in stage["outs"]
            if out["path"].startswith("data/") and any(_overlap(out["path"], path) for path in read)
        }


def _stored(repository: Path, oid: str) -> list[Path]:
    own = repository / ".dvc/cache/files/md5" / oid[:2] / oid[2:]
    return [own, *(path for _, path in cached_files(repository, oid))]


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _undisturbed(folder: Path, said: Path) -> dict[str, float]:
    """Run the pipeline, and return its stages in their order with the seconds of each."""
    run = Run(folder, said, {})
    began: dict[str, float] = {}
    while run.goes_on:
        for line in run.said.splitlines():
            if line.startswith("Running stage"):
                began.setdefault(line.split("'")[1], time.monotonic())
        time.sleep(0.1)
    if run.process.returncode:
        raise ValueError(f"{folder}: the undisturbed run failed: see {said}")
    ends = [*list(began.values())[1:], time.monotonic()]
    return {name: end - start for (name, start), end in zip(began.items(), ends, strict=True)}
