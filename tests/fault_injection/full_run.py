"""An undisturbed run of an even smaller pipeline, and copies of it without some stages.

It has one arm (LoRA), one quantized model (GPTQ), and two benchmarks: the ladder and one with
multiple choice.
"""

import json
import time
from pathlib import Path

from tests.conftest import byte_tokenizer, save_tiny
from tests.fault_injection.running import Run
from tests.mini import clone, cut, locked, set_params

SMALLER = {
    "prepare.benchmarks": {
        "ladder": {"source": "ladder", "per_rung": 2, "part": "test"},
        "aqua": {"source": "aqua", "path": "aqua.json", "size": "all"},
    },
    "evaluate.models": {"adaptive": [0], "adaptive-gptq4": [0]},
    "evaluate.max_tokens": {"ladder": 16, "aqua": 16},
    "evaluate.speed": {"prompts": 2, "tokens": 2, "repeats": 1},
    "analyze.compare": [["adaptive-gptq4", "adaptive"]],
}


class FullRun:
    """The undisturbed run that the others are cut from and compared with."""

    def __init__(self, folder: Path) -> None:
        """Run it, unless the folder has one."""
        self.folder = folder / "full"
        timings = folder / "seconds.json"
        if not timings.exists():
            base = save_tiny(folder / "tiny", byte_tokenizer())
            set_params(clone(self.folder, base), SMALLER)
            timings.write_text(json.dumps(_run_undisturbed(self.folder, folder / "full.txt")))
        self.seconds: dict[str, float] = json.loads(timings.read_text(encoding="utf-8"))
        self.stages = locked(self.folder)
        self.outs = [out["path"] for stage in self.stages.values() for out in stage["outs"]]

    def cut(self, into: Path, names: list[str]) -> None:
        """Copy it without what some stages made."""
        cut(self.folder, into, names)

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


def _overlap(first: str, second: str) -> bool:
    """Return whether one path is the other, or inside it."""
    return f"{first}/".startswith(f"{second}/") or f"{second}/".startswith(f"{first}/")


def _run_undisturbed(folder: Path, output: Path) -> dict[str, float]:
    """Run the pipeline, and return its stages in their order with the seconds of each."""
    run = Run(folder, output, {})
    began: dict[str, float] = {}
    while run.is_running:
        for line in run.output.splitlines():
            if line.startswith("Running stage"):
                began.setdefault(line.split("'")[1], time.monotonic())
        time.sleep(0.1)
    if run.process.returncode:
        raise ValueError(f"{folder}: the undisturbed run failed: see {output}")
    ends = [*list(began.values())[1:], time.monotonic()]
    return {name: end - start for (name, start), end in zip(began.items(), ends, strict=True)}
